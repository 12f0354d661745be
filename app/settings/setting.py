"""A setting: its name, description, default and limits, and how its value is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, replace
from typing import Any, Final

from environs import Env, EnvValidationError
from marshmallow.validate import Range

_ENV: Final = Env()
_KEY: Final = "setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """Declared with `text`, `whole` … in the dataclass field that holds its value; `settings_of` collects them."""

    kind: str  # the environs method that reads it
    words: str
    default: Any
    least: float | None = None
    most: float | None = None
    secret: bool = False
    take: Callable[[Any], Any] | None = None
    """Returns the effective value, also for the default. Raises ValueError that says what is wrong."""
    name: str = ""

    def read(self) -> Any:
        """The effective value. An empty variable counts as not set. Raises ValueError that says what is wrong."""
        value = self.default
        if os.environ.get(self.name, "").strip():
            limits = None if self.least is None else Range(self.least, self.most)
            try:
                value = getattr(_ENV, self.kind)(self.name, validate=limits)
            except EnvValidationError as error:
                raise ValueError(", ".join(map(str, error.error_messages))) from None
        return value if self.take is None or value is None else self.take(value)

    def show(self, value: Any) -> str:
        """An effective value for people, with secrets hidden."""
        if value is None:
            return ""
        if self.secret:
            return "(set)"
        if isinstance(value, bool):
            return str(value).lower()
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings_of(fields: Sequence[Field[Any]]) -> tuple[Setting, ...]:
    """The settings that the fields of a dataclass declare, with the names of their environment variables."""
    return tuple(replace(one.metadata[_KEY], name=one.name.upper()) for one in fields)


def text(
    words: str, default: str | None = None, *, secret: bool = False, take: Callable[[str], Any] | None = None
) -> Any:
    return _declare(Setting("str", words, default, secret=secret, take=take))


def texts(
    words: str,
    default: tuple[str, ...] | None = (),
    *,
    secret: bool = False,
    take: Callable[[Sequence[str]], Any] | None = None,
) -> Any:
    """A comma-separated list."""
    return _declare(Setting("list", words, default, secret=secret, take=take))


def whole(words: str, default: int | None, least: int, most: int) -> Any:
    return _declare(Setting("int", words, default, least, most))


def number(words: str, default: float, least: float, most: float) -> Any:
    return _declare(Setting("float", words, default, least, most))


def flag(words: str, *, default: bool) -> Any:
    return _declare(Setting("bool", words, default))


def _declare(setting: Setting) -> Any:
    return field(metadata={_KEY: setting})
