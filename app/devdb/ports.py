"""Ports of the loopback interface."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"


def remembered(file: Path) -> int:
    """The port in the file, or 0 if there is none."""
    try:
        port = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return port if 1024 <= port <= 65_535 else 0


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like mongod, despite old connections
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
