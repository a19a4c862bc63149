"""What the submitting process tells the supervisor: one JSON text, through a pipe.

It goes through a pipe and not over a command line or into a file because environment
variables in it may be secrets.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

__all__ = ["Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """One script run.

    Attributes:
        root: Folder of all runs, absolute.
        experiment, run_id: Of the run.
        line: Command line.
        source: Source folder, absolute.
        in_place: Whether the command runs in it, not in a copy.
        variables: Environment variables added for it.
        interpreter: The Python that `python` in the command means.
        environment: What it runs in, see `mlog.launch.environments`.
        seconds: How long it may run. None: without limit.
        grace: Seconds between SIGTERM and SIGKILL.
        definition: What `run.launch` says.
        run: Further arguments of `start_run`.
    """

    root: str
    experiment: str
    run_id: str
    line: list[str]
    source: str
    in_place: bool
    interpreter: str
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    grace: float = 10.0
    variables: dict[str, str] = field(default_factory=dict)
    definition: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the JSON text."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, text: bytes) -> "Order":
        """Return the order in a JSON text."""
        return cls(**orjson.loads(text))
