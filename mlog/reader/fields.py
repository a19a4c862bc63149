"""Fields of entries and documents, which may hold anything: what they should, or none.

Files can be damaged, or written by somebody else; a reader that asks here goes on.
"""

from typing import Any

__all__ = ["mapping_from", "text_from", "whole_from"]


def text_from(value: object) -> str:
    """Return a text; "" for anything else."""
    return value if isinstance(value, str) else ""


def whole_from(value: object) -> int | None:
    """Return an integer >= 0; None for anything else, also for True."""
    return value if type(value) is int and value >= 0 else None


def mapping_from(value: object) -> dict[str, Any]:
    """Return an object of JSON; {} for anything else."""
    return value if isinstance(value, dict) else {}
