"""What the submitting process tells the supervisor: one JSON text, through a pipe.

It goes through a pipe and not over a command line or into a file because environment
variables in it may be secrets.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from mlog.launch.attached import Attached

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
        memory: Most bytes of address space of each process. None: without limit.
        attached: What is inherited from a command at a terminal. None: there is none.
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
    memory: int | None = None
    attached: Attached | None = None

    def encode(self) -> bytes:
        """Return the JSON text."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, text: bytes) -> "Order":
        """Return the order in a JSON text."""
        fields = orjson.loads(text)
        if fields["attached"] is not None:
            fields["attached"] = Attached.from_dict(fields["attached"])
        return cls(**fields)
