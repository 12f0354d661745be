"""`python -m app`, and the command `roomcast`."""

import sys


def run() -> None:
    try:
        from app.cli import INTERRUPTED, main  # which takes a moment, in which Ctrl-C is quiet, too
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        main(prog_name="roomcast" if sys.argv[0].endswith("roomcast") else "python -m app")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
