"""A redis-server of our own on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.faults.mongods import free_port

BINARY = shutil.which("redis-server")


class RedisServer:
    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._directory, self._options = directory, options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        assert BINARY is not None
        self._process = await asyncio.create_subprocess_exec(
            *(BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *self._options,
            cwd=self._directory,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20), Redis.from_url(self.url) as client:
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await client.ping()
                    return
                await asyncio.sleep(0.02)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await self._process.wait()
