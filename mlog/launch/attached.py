"""What a supervisor inherits from a command that shows its script at a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Attached"]


@dataclass(frozen=True, slots=True)
class Attached:
    """Open descriptors, by number.

    Attributes:
        relays: `stdout` and `stderr` to pipes; who reads them shows what comes.
        terminals: Those of the two that are terminals there to a pseudo-terminal, as
            (master, slave).
        control: That of `terminals` which the script also reads from and is controlled
            by. "": none.
        stdin: What the script reads otherwise. None: nothing.
        alive: A pipe that is closed when the supervisor is gone. None: nobody asks.
    """

    relays: Mapping[str, int] = field(default_factory=dict)
    terminals: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    control: str = ""
    stdin: int | None = None
    alive: int | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Attached":
        """Return what became of one in JSON."""
        pairs = {name: (m, s) for name, (m, s) in fields["terminals"].items()}
        return cls(**{**fields, "terminals": pairs})

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        given = [
            *self.relays.values(),
            *(fd for pair in self.terminals.values() for fd in pair),
        ]
        return given + [fd for fd in (self.stdin, self.alive) if fd is not None]
