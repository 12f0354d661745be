"""RFC 6455 and 7692, as Autobahn's cases 1-7, 9, 10, 12 and 13 ask of a server: the parser, fed by hand."""

import codecs
import gc
import json
import os
import zlib

import pytest

from app.engine import frames
from app.engine.deflate import deflated_frame, inflate, negotiate
from app.engine.frames import WebSocketError

from .client import close_body, deflate, frame


class Parser(frames.FrameParser):
    def __init__(self, max_message: int = 65_536, deflate: bool = False) -> None:
        super().__init__(max_message, inflate if deflate else None)
        self.got: list[object] = []

    def on_message(self, data: str | bytes) -> None:
        self.got.append(data)

    def on_control(self, opcode: int, payload: bytes) -> None:
        self.got.append((opcode, payload))


def parse(*chunks: bytes, **options: object) -> list[object]:
    parser = Parser(**options)  # type: ignore[arg-type]
    for chunk in chunks:
        parser.feed(chunk)
    return parser.got


def refused(data: bytes, **options: object) -> int:
    with pytest.raises(WebSocketError) as error:
        parse(data, **options)
    return error.value.code


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [1, 2])
def test_messages_of_every_length_form_arrive_whole(size: int, opcode: int) -> None:
    """Cases 1: text and binary of each of the three ways to write a length."""
    payload = b"*" * size
    expected = payload.decode() if opcode == 1 else payload
    assert parse(frame(payload, opcode)) == [expected]


def test_a_length_may_be_written_longer_than_it_needs_to_be() -> None:
    """Cases 1: what matters is the number, as in all servers that Autobahn knows."""
    assert parse(b"\x81\xfe\x00\x01\x00\x00\x00\x00a") == ["a"]


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
@pytest.mark.parametrize("size", range(9))
def test_every_mask_is_taken_off(mask: bytes, size: int) -> None:
    """RFC 6455, 5.3: byte i is masked with byte i mod 4."""
    payload = os.urandom(size)
    assert parse(frame(payload, 2, mask=mask)) == [payload]


def test_frames_may_be_split_anywhere_and_come_together() -> None:
    """Cases 1, 2 and 5 in chops of one octet, and all in one."""
    data = frame(b"one") + frame(b"", 9) + frame("zwei ä".encode(), fin=False) + frame(b"p", 9) + frame(b"!", 0)
    data += frame(b"x" * 300, 2)
    expected = ["one", (9, b""), (9, b"p"), "zwei ä!", b"x" * 300]
    assert parse(data) == parse(*bytewise(data)) == expected


@pytest.mark.parametrize("opcode", [9, 10])
def test_control_frames_carry_up_to_125_bytes(opcode: int) -> None:
    """Cases 2: pings and pongs, solicited or not."""
    assert parse(frame(b"x" * 125, opcode)) == [(opcode, b"x" * 125)]
    assert refused(frame(b"x" * 126, opcode)) == 1002


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [1, 2, 8, 9, 10])
def test_reserved_bits_end_the_connection(rsv: int, opcode: int) -> None:
    """Cases 3: no extension has given them a meaning."""
    assert refused(frame(b"", opcode, rsv=rsv)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_end_the_connection(opcode: int) -> None:
    """Cases 4, told as soon as the first two bytes are there, between good messages or not."""
    assert refused(frame(b"", opcode)) == 1002
    assert refused(frame(b"ok") + frame(b"xx", opcode)[:2]) == 1002


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_are_not_fragmented(opcode: int) -> None:
    """Cases 5.1 and 5.2."""
    assert refused(frame(b"", opcode, fin=False)) == 1002


@pytest.mark.parametrize(
    "data",
    [
        frame(b"x", 0),
        frame(b"x", 0, fin=False),
        frame(b"a", fin=False) + frame(b"b"),
        frame(b"a", fin=False) + frame(b"b", 0) + frame(b"c", 0),
        frame(b"a", fin=False) + frame(b"b", 2),
    ],
)
def test_continuations_only_follow_a_beginning(data: bytes) -> None:
    """Cases 5.9-5.18: no continuation of nothing, no message within a message."""
    assert refused(data) == 1002


def test_frames_of_clients_are_masked() -> None:
    """RFC 6455, 5.1."""
    assert refused(frame(b"x", mask=None)) == 1002


def test_a_message_may_be_fragmented_into_many_and_empty_parts() -> None:
    """Cases 5.3-5.8 and 9."""
    parts = [frame(b"", fin=False), *[frame(b"x", 0, fin=False)] * 100, frame(b"", 0, fin=False), frame(b"", 0)]
    assert parse(b"".join(parts)) == ["x" * 100]


@pytest.mark.parametrize(
    "text",
    [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        "\ud7ff\ue000\U0010ffff\ufffe".encode(),
        b"\0\x7f",
        b"\xef\xbb\xbf",
    ],
)
def test_valid_utf_8_may_be_cut_within_a_character(text: bytes) -> None:
    """Cases 6.2, 6.5-6.9, 6.22: frames end where they like."""
    pieces = [frame(text[:1], fin=False), *[frame(text[i : i + 1], 0, fin=False) for i in range(1, len(text))]]
    assert parse(*pieces, frame(b"", 0)) == [text.decode()]


@pytest.mark.parametrize(
    "text",
    [
        b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\x80", b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80", b"\x80", b"\xbf", b"\xff", b"\xfe", b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98", b"\xc0\xaf",
    ],
)  # fmt: skip
def test_text_that_is_not_utf_8_ends_the_connection(text: bytes) -> None:
    """Cases 6.3, 6.6-6.21: surrogates, overlong forms, stray and missing continuation bytes."""
    assert refused(frame(text)) == 1007
    assert refused(frame(text, fin=False) + frame(b"", 0)) == 1007


def test_bad_utf_8_is_told_with_the_frame_that_it_is_in() -> None:
    """Cases 6.4.1 and 6.4.2: not only when the message is complete."""
    assert refused(frame("κόσμε".encode() + b"\xf4\x90", fin=False)) == 1007
    parser = Parser()
    parser.feed(frame(b"\xf4", fin=False))
    with pytest.raises(WebSocketError) as error:
        parser.feed(frame(b"\x90", 0, fin=False))
    assert error.value.code == 1007
    assert parser.got == []


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_these_close_codes_may_be_sent(code: int) -> None:
    """Cases 7.7."""
    assert frames.check_close(close_body(code, b"x" * 123)) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_these_close_codes_may_not_be_sent(code: int) -> None:
    """Cases 7.9 and 7.13."""
    with pytest.raises(WebSocketError) as error:
        frames.check_close(close_body(code))
    assert error.value.code == 1002


@pytest.mark.parametrize(("body", "code"), [(b"\x03", 1002), (close_body(1000, b"\xce\xba\xff"), 1007)])
def test_a_close_body_is_empty_or_a_code_and_a_reason_in_utf_8(body: bytes, code: int) -> None:
    """Cases 7.3.2 and 7.5.1."""
    assert frames.check_close(b"") == 1000
    with pytest.raises(WebSocketError) as error:
        frames.check_close(body)
    assert error.value.code == code


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("length", [65_537, 2**31, 2**63, 2**64 - 1])
def test_a_message_over_the_limit_is_refused_by_its_length_alone(fin: bool, length: int) -> None:
    """Cases 9: no byte of it needs to come."""
    assert refused(frame(b"", 2, fin=fin, length=length)) == 1009


def test_parts_count_together_and_control_frames_between_them_do_not() -> None:
    """A message within the limit is taken however it is cut; one byte more is not."""
    parts = frame(b"x" * 600, 2, fin=False) + frame(b"p" * 125, 9)
    assert parse(parts + frame(b"y" * 400, 0), max_message=1000)[1] == b"x" * 600 + b"y" * 400
    assert refused(parts + frame(b"y" * 401, 0), max_message=1000) == 1009


@pytest.mark.parametrize("size", [0, 1, 16, 1_024, 65_536])
def test_compressed_messages_arrive_inflated(size: int) -> None:
    """Cases 12: whole, fragmented, text and binary."""
    payload = os.urandom(size // 2).hex().encode()
    data = deflate(payload)
    middle = len(data) // 2
    cut = frame(data[:middle], 2, rsv=4, fin=False) + frame(data[middle:], 0)
    assert parse(frame(data, 1, rsv=4), deflate=True) == [payload.decode()]
    assert parse(cut, deflate=True) == [payload]
    assert parse(frame(payload, 2), deflate=True) == [payload], "compression is a choice for each message"


def test_only_a_messages_first_frame_says_that_it_is_compressed() -> None:
    """RFC 7692, 6.1: RSV1 on a continuation or a control frame is a fault."""
    assert refused(frame(b"a", fin=False) + frame(b"b", 0, rsv=4), deflate=True) == 1002
    assert refused(frame(b"", 9, rsv=4), deflate=True) == 1002
    assert refused(frame(b"a", rsv=2), deflate=True) == 1002


def test_final_deflate_blocks_are_understood() -> None:
    """RFC 7692, 7.2.3.4."""
    assert parse(frame(bytes.fromhex("f348cdc9c9070000"), rsv=4), deflate=True) == ["Hello"]


def blocks(*payloads: bytes, final: bool) -> bytes:
    """Each as a deflate stream of its own that ends at a byte, the last one without the tail that is left out."""
    data = b""
    for payload in payloads:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        data += compressor.compress(payload) + compressor.flush(zlib.Z_FINISH if final else zlib.Z_FULL_FLUSH)
    return data


def test_blocks_after_a_final_block_are_part_of_the_message() -> None:
    """RFC 7692, 7.2.1: the next block follows from the next byte on, whichever kind it is."""
    text = b"Hello, and hello again. " * 20
    assert parse(frame(blocks(text, text, final=True) + deflate(b"!"), rsv=4), deflate=True) == [
        (text * 2 + b"!").decode()
    ]
    assert parse(frame(blocks(text, final=True), rsv=4), deflate=True) == [text.decode()], "nothing need follow"
    behind = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=text)
    data = behind.compress(text) + behind.flush(zlib.Z_SYNC_FLUSH)
    assert parse(frame(blocks(text, final=True) + data[:-4], rsv=4), deflate=True) == [(text * 2).decode()]
    assert refused(frame(blocks(b"x" * 40_000, b"x" * 40_000, final=True), rsv=4), deflate=True) == 1009
    assert refused(frame(blocks(text, final=True) + b"\xff\xff", rsv=4), deflate=True) == 1007
    assert refused(frame(b"\x03\x00" * 5_000, rsv=4), deflate=True) == 1007, "thousands of them are no message"


@pytest.mark.parametrize("level", [0, 1, 9])
def test_an_incomplete_deflate_stream_is_no_message(level: int) -> None:
    """Wherever it is cut: 1007, and nothing is delivered."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    payload = json.dumps([{"number": n, "text": f"message {n}"} for n in range(20)]).encode()
    data = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert parse(frame(data, rsv=4), deflate=True) == [payload.decode()]
    for end in range(2, len(data)):  # of one byte it is the empty message
        assert refused(frame(data[:end], rsv=4), deflate=True) == 1007, end


def test_a_bomb_is_not_inflated_beyond_the_limit() -> None:
    """Fifty megabytes in fifty kilobytes are refused with 1009; text is checked after inflating."""
    assert refused(frame(deflate(bytes(50_000_000)), 2, rsv=4), deflate=True) == 1009
    assert refused(frame(b"\xff\xff\xff\xff", rsv=4), deflate=True) == 1007
    assert refused(frame(deflate(b"\xff"), rsv=4), deflate=True) == 1007


def test_each_message_we_compress_stands_alone() -> None:
    """No context taken over: any later message can be inflated without those before it."""
    payload = b'42["new_message",{"text":"' + b"so it goes " * 50 + b'"}]'
    for _ in range(3):
        data = deflated_frame(payload)
        assert data[0] == 0xC1
        body = data[4:] if data[1] == 126 else data[2:]
        assert zlib.decompressobj(-12).decompress(body + b"\0\0\xff\xff") == payload
        assert len(data) < len(payload) / 2


BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", BOTH),
        ('x-other; note="a, permessage-deflate; b", permessage-deflate; server_max_window_bits=9', None),
        ('x-other; note="a; b \\", c", permessage-deflate', BOTH),
        ('permessage-deflate; server_max_window_bits="1\\2"', BOTH + "; server_max_window_bits=12"),
        ('permessage-deflate; server_max_window_bits="15"', BOTH + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=12", BOTH + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", BOTH),
        ("x-webkit-deflate-frame, permessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits=9", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=08", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; unknown", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_offers_are_accepted_or_declined_as_written(offer: str, answer: str | None) -> None:
    """RFC 7692, 7.1, cases 13: the first offer that can be kept; a bad parameter declines its offer alone."""
    assert negotiate(offer) == answer


def test_a_parser_between_frames_holds_nothing() -> None:
    """An idle connection has no buffer."""
    parser = Parser()
    parser.feed(frame(b"a", fin=False) + frame(b"b", 0) + frame(b"c")[:3])
    parser.feed(frame(b"c")[3:])
    assert parser.got == ["ab", "c"]
    held = [one for one in gc.get_referents(parser) if isinstance(one, bytearray | codecs.IncrementalDecoder)]
    assert held == []
