"""When to try again. Pure: clock and random numbers are arguments.

Source: Marc Brooker, "Exponential Backoff And Jitter" (full jitter).
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]

_LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the nth failure in a row; there is no last one.

    Attributes:
        first: Seconds that the wait after the first failure is below.
        longest: Seconds that no wait of its own choice is above.
        pause: Least seconds after a refusal that somebody has to do something about.
    """

    first: float = 1.0
    longest: float = 60.0
    pause: float = 30.0

    def delay(
        self,
        failures: int,
        random: Callable[[], float],
        *,
        asked: float | None = None,
        blocked: bool = False,
    ) -> float:
        """Return seconds to wait.

        Args:
            failures: How many there were in a row, from 1.
            random: Gives a number from 0 up to 1.
            asked: What the server asked for; at least that much is waited, at most an
                hour, and some more at random so that not all clients come at once.
            blocked: Nothing will change until somebody acts.
        """
        span = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        if asked is not None:
            return min(asked, _LONGEST) + random() * min(span, 0.1 * asked + 1.0)
        if blocked:
            return self.pause + random() * min(span, self.pause)
        return random() * span
