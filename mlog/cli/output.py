"""Where lines of entries go: standard output, as text for people or as they are."""

import os
import select
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mlog.cli.lines import EntryLines, run_labels, wants_colour
from mlog.cli.repeats import Group
from mlog.reader.several import Sources

__all__ = ["Output"]


class Output:
    """Writes groups to a stream, and flushes once they are all written."""

    def __init__(
        self, stream: BinaryIO, as_json: bool, folders: list[Path], sources: Sources
    ) -> None:
        """Choose how lines look.

        Args:
            stream: The bytes of standard output.
            as_json: Whether to write the lines as they stand in the files.
            folders: Of the runs; several are named in each line.
            sources: Knows who wrote an entry.
        """
        labels = run_labels(folders) if len(folders) > 1 else {}
        colour = not as_json and wants_colour(sys.stdout, os.environ)
        self._lines = EntryLines(colour=colour, labels=labels)
        self._as_json = as_json
        self._encoding = sys.stdout.encoding or "utf-8"
        self._sources = sources
        self._stream = stream
        self._poll = _poll_for_reader(stream)

    def __call__(
        self,
        groups: Iterable[Group],
        *,
        signs: Mapping[str, str] | None = None,
        step: int | None = None,
    ) -> None:
        """Write; also notice, when there is nothing to write, that nobody reads.

        Args:
            groups: What to write.
            signs: What stands before the names of some processes.
            step: Metrics of this step are marked.
        """
        if self._poll is not None and self._poll.poll(0):
            raise BrokenPipeError
        write = self._stream.write
        if self._as_json:
            for group in groups:
                write(group.first.raw + b"\n")
        else:
            for group in groups:
                text = self._text(group, signs or {}, step)
                write(text.encode(self._encoding, "backslashreplace"))
        self._stream.flush()

    def _text(self, group: Group, signs: Mapping[str, str], step: int | None) -> str:
        first = group.first
        note = self._note(group) if group.count > 1 else ""
        if step is not None and first.entry.get("step") == step:
            if first.segment.stream == "metrics":
                note = f"{note}  ◀" if note else "◀"
        return self._lines.text(first, note, sign=signs.get(first.segment.writer, ""))

    def _note(self, group: Group) -> str:
        """Say how many lines there are, of whom, and until when."""
        folder = group.first.folder
        note = group.note(self._sources.at(folder, name) for name in group.writers)
        are_repeats = group.count > len(group.writers)
        if are_repeats and group.last[:19] != group.first.entry["ts"][:19]:
            note += f" until {self._lines.clock(group.last)}"
        return note


def _poll_for_reader(stream: BinaryIO) -> Any:
    """Return what reports the error of a pipe without a reader, where that is known."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # Windows; a test's own stream
        return None
    return poll
