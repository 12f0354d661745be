"""How much a client may do: a token bucket."""

import asyncio


class Allowance:
    """`burst` at once, `rate` a second in the long run."""

    __slots__ = ("_burst", "_rate", "_refilled", "left")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._refilled = 0.0
        self.left = float(burst)
        """What is left; below 0, by how much it was exceeded, up to one more burst."""

    def take(self, cost: float = 1.0) -> bool:
        """Take so much; False if there was not enough. What is refused counts as well."""
        now = asyncio.get_running_loop().time()
        self.left = min(self._burst, self.left + (now - self._refilled) * self._rate) - cost
        self._refilled = now
        return self.left >= 0

    @property
    def overdrawn(self) -> bool:
        """Whether a whole burst more than allowed was taken."""
        return self.left < -self._burst
