"""A rate limit for a client: a token bucket."""

import asyncio


class Allowance:
    """Allows `burst` at once, and `rate` per second on average."""

    __slots__ = ("_burst", "_rate", "_refilled", "left")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._refilled = 0.0
        self.left = float(burst)
        """What is left. Below 0: by how much the limit was exceeded, up to one more burst."""

    def take(self, cost: float = 1.0) -> bool:
        """Take `cost`. Returns False if there was not enough; refused amounts count, too."""
        now = asyncio.get_running_loop().time()
        self.left = min(self._burst, self.left + (now - self._refilled) * self._rate) - cost
        self._refilled = now
        return self.left >= 0

    @property
    def overdrawn(self) -> bool:
        """Whether the limit was exceeded by a whole burst."""
        return self.left < -self._burst
