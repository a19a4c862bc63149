"""What a shipper knows of the world: clocks and chance; so a test can tell it."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["World"]


@dataclass(frozen=True, slots=True)
class World:
    """Clocks, chance, and where a test may stop a shipper.

    Attributes:
        wall: Seconds since the epoch.
        monotonic: Seconds that only grow.
        random: A number from 0 up to 1.
        reach: Called with the name of each point at which a crash would matter.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    reach: Callable[[str], None] = lambda point: None
