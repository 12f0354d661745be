"""Shifts the wall clock of the process that has this on its PYTHONPATH, by the seconds in the file CLOCK_FILE.

A replacement for `settimeofday`, which would set the clock of the whole machine. The server reads the wall clock with
`time.time` and `datetime.now`. The monotonic clock continues, as it does when a real clock is set.
"""

import datetime as module
import os
import time

_file = os.environ["CLOCK_FILE"]
_time = time.time
_real = module.datetime
_read = (0.0, 0.0)


def _offset() -> float:
    global _read
    now = time.monotonic()
    if now - _read[0] > 0.05:
        with open(_file) as file:
            _read = now, float(file.read() or 0)
    return _read[1]


class _Meta(type(_real)):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _real)


class _Datetime(_real, metaclass=_Meta):
    """Looks like the real one and makes real ones."""

    def __new__(cls, *args: object, **kwargs: object) -> object:
        return _real(*args, **kwargs)

    @classmethod
    def now(cls, tz: object = None) -> object:
        return _real.now(tz) + module.timedelta(seconds=_offset())

    @classmethod
    def utcnow(cls) -> object:
        return _real.utcnow() + module.timedelta(seconds=_offset())


for _name in ("fromisoformat", "fromtimestamp", "utcfromtimestamp", "strptime", "combine", "fromordinal"):
    setattr(_Datetime, _name, getattr(_real, _name))

time.time = lambda: _time() + _offset()
time.time_ns = lambda: int((_time() + _offset()) * 1e9)
module.datetime = _Datetime
