"""setuptools' build backend, which refuses to build a wheel without the page."""

from pathlib import Path

from setuptools.build_meta import *  # noqa: F403
from setuptools.build_meta import build_wheel as _build_wheel

PAGE = Path("app/static/index.html")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if not PAGE.is_file():
        raise SystemExit(f"{PAGE} is missing: run `make page` first.")
    return _build_wheel(wheel_directory, config_settings, metadata_directory)
