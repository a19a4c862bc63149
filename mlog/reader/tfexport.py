"""A run as an event file of TensorBoard: numbers, texts, pictures, histograms, params, status."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

from mlog.escaping import inline
from mlog.reader.alive import seconds_of
from mlog.reader.page_images import content_of
from mlog.reader.page_words import value_text
from mlog.reader.series import read_histories
from mlog.reader.state import RunState, read_state
from mlog.reader.tfevents import EventFile

__all__ = ["began", "write_events"]

_SHORT = 512
_PICTURES = ("image/png", "image/jpeg", "image/gif")


def began(state: RunState) -> float:
    """Return when a run began, in seconds since the epoch."""
    return seconds_of(state.created or state.updated) or 0.0


def write_events(folder: Path, path: Path) -> Counter[str]:
    """Write a run into a new event file.

    Args:
        folder: The run's.
        path: Of the file, which must not be there.

    Returns:
        Of each metric, how many values had no place in it.
    """
    state, left_out = read_state(folder), Counter[str]()
    first = began(state)
    with open(path, "xb") as file:
        events = EventFile(file, first)
        if state.params:
            events.params(first, _plain_params(state.params))
            events.text("params", 0, first, _markdown(state.params))
        for name, history in read_histories(folder).items():
            for step, value, time in history:
                picture = _picture(state, value)
                if picture:
                    events.image(name, step, time, picture, _size(picture))
                elif not _add(events, name, step, time, value):
                    left_out[name] += 1
        ended = seconds_of(state.ended or "")
        if ended is not None:
            events.status(ended, is_success=state.status == "Completed")
    return left_out


def _picture(state: RunState, value: Any) -> bytes:
    """Return the small picture that a value is the path of; b"" where it is none."""
    artifact = state.artifacts.get(value) if isinstance(value, str) else None
    if artifact is None or artifact.media_type not in _PICTURES:
        return b""
    content = content_of(state.folder, artifact)
    return content if len(content) == artifact.size else b""  # of large ones a part


def _size(picture: bytes) -> tuple[int, int]:
    """Return width and height of a PNG; zeros of anything else.

    Source: PNG specification, 11.2.2 (IHDR).
    """
    if not picture.startswith(b"\x89PNG") or len(picture) < 24:
        return 0, 0
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def _add(events: EventFile, name: str, step: int, time: float, value: Any) -> bool:
    """Add a point; returns whether there is a place for it."""
    match value:
        case int() | float():
            events.scalar(name, step, time, _as_float(value))
        case str():
            events.text(name, step, time, value)
        case {"edges": list(edges), "counts": list(counts)}:
            is_whole = all(isinstance(x, int | float) for x in (*edges, *counts))
            if not is_whole or len(edges) != len(counts) + 1 or not counts:
                return False
            floats = ([_as_float(x) for x in numbers] for numbers in (edges, counts))
            events.histogram(name, step, time, *floats)
        case _:
            return False
    return True


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _plain_params(params: dict[str, Any]) -> dict[str, Any]:
    """Return params as TensorBoard has them: lists and objects as text."""
    return {
        name: _as_float(value)
        if type(value) is int
        else value
        if isinstance(value, bool | float | str)
        else value_text(value)
        for name, value in params.items()
    }


def _markdown(params: dict[str, Any]) -> str:
    """Return params as a table of Markdown."""
    rows = [(name, value_text(value)) for name, value in params.items()]
    lines = (" | ".join(map(_markdown_cell, row)) for row in rows)
    return "\n".join(("name | value", "--- | ---", *lines))


def _markdown_cell(text: str) -> str:
    text = inline(text[:_SHORT])
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
