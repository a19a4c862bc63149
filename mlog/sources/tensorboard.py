"""Runs in TensorBoard's log folders, read without TensorFlow.

Each folder with event files is a run, as TensorBoard shows it. Its files are read one
after the other, by their names, which begin with the time. What a file may have that
cannot be read is noted: a record that is cut short at its end (somebody may just be
writing it), one with a wrong checksum, values of plugins that have no place here.

Source of the records: see `mlog.reader.tfevents`.
"""

import os
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from mlog.errors import MlogError
from mlog.folder import read_from
from mlog.plain import fit_text
from mlog.reader.tfevents import crc32c, masked
from mlog.sources.copies import Advance, File, Origin, Point, id_from
from mlog.sources.protobuf import fields_in, numbers_in, signed
from mlog.sources.summaries import Summaries

__all__ = ["LogRun", "log_runs", "read_records"]

_MARK = "tfevents"
_HEAD = 12
_MAX_NOTES = 20


def log_runs(path: Path, experiment: str | None = None) -> list["LogRun"]:
    """Return the runs at and below a folder, or that of a single event file.

    Args:
        path: Of the folder or file.
        experiment: They go to; default: the name of the folder.

    Raises:
        MlogError: There are no event files.
        OSError: The folder cannot be read.
    """
    if path.is_file():
        label = experiment or path.absolute().parent.name or "tensorboard"
        return [LogRun(path.parent, [path], label, path.absolute().parent.name)]
    os.listdir(path)  # raises where it is none, or not for us to read
    label = experiment or path.absolute().name or "tensorboard"
    found = []
    for folder, below, names in os.walk(path):
        below.sort()
        files = sorted(Path(folder) / n for n in names if _MARK in n)
        files = [f for f in files if f.is_file() and not f.is_symlink()]
        if files:
            name = os.path.relpath(folder, path)
            name = label if name == os.curdir else name.replace(os.sep, "/")
            found.append(LogRun(Path(folder), files, label, name))
    if not found:
        raise MlogError(f"no event files ('events.out.tfevents.…') in {path} or below")
    return found


class LogRun:
    """A folder's event files as one run; a `SourceRun`.

    Attributes:
        paths: Of the files.
    """

    def __init__(
        self, folder: Path, files: list[Path], experiment: str, name: str
    ) -> None:
        """Take a look at the files.

        Raises:
            OSError: One of them cannot be read.
        """
        self.notes: list[str] = []
        self.paths = files
        sizes = [path.stat().st_size for path in files]
        shape = repr([(p.name, s) for p, s in zip(files, sizes, strict=True)])
        source = f"tensorboard:{name}:{files[0].name}"
        began = self._first_time()
        self.origin = Origin(
            tool="tensorboard",
            source=source,
            state=sha256(shape.encode("utf-8", "surrogatepass")).hexdigest(),
            run_id=id_from(began, source),
            experiment=experiment,
            name=fit_text(name.encode("utf-8", "replace").decode(), 500),
            began=began,
            status="Completed",
            size=sum(sizes),
        )

    def points(self, advance: Advance) -> Iterator[Point]:
        """Yield all points in the order of the files; learns params and status."""
        last = self.origin.began
        unknown: dict[str, int] = {}
        for path in self.paths:
            summaries = Summaries()
            for point in self._points_in(path, summaries, advance):
                last = max(last, point.time or 0)
                yield point
            self._learn(summaries)
            for plugin, count in summaries.unknown.items():
                unknown[plugin] = unknown.get(plugin, 0) + count
        self.origin.ended = last
        for plugin, count in unknown.items():
            self._note(f"left out {count:,} values of the plugin {plugin!r}")

    def files(self) -> Iterator[File]:
        """Yield nothing: pictures come with the points."""
        return iter(())

    def _points_in(
        self, path: Path, summaries: Summaries, advance: Advance
    ) -> Iterator[Point]:
        with read_from(path) as file:
            for record in read_records(file, path.name, self._note):
                advance(len(record) + _HEAD + 4)
                try:
                    event = fields_in(record)
                    time = round(_time(event) * 1e6)
                    for summary in event.get(5, []):
                        if not isinstance(summary, bytes):
                            continue
                        step = signed(_whole(event.get(2)))
                        values = summaries.values_in(summary, step)
                        if values:
                            yield Point(time, step, values)
                except (ValueError, IndexError, struct.error, OverflowError):
                    self._note(f"{path.name}: a record is no event")

    def _learn(self, summaries: Summaries) -> None:
        session = summaries.session
        self.origin.params = {**session.params, **self.origin.params}
        self.origin.status = session.status or self.origin.status

    def _first_time(self) -> int:
        """Return the time of the first event, else that of the file."""
        path = self.paths[0]
        with read_from(path) as file:
            for record in read_records(file, path.name, lambda _: None):
                try:
                    return round(_time(fields_in(record)) * 1e6)
                except (ValueError, OverflowError):
                    break
        return round(path.stat().st_mtime * 1e6)

    def _note(self, text: str) -> None:
        if len(self.notes) < _MAX_NOTES and text not in self.notes:
            self.notes.append(text)


def read_records(
    file: BinaryIO, name: str, note: Callable[[str], None]
) -> Iterator[bytes]:
    """Yield the records of an event file that are whole.

    Args:
        file: Stands at its beginning.
        name: For notes.
        note: Is told what is wrong: a torn end, a wrong checksum.
    """
    size, at = os.fstat(file.fileno()).st_size, 0
    while at < size:
        head = file.read(_HEAD)
        if len(head) < _HEAD:
            note(f"{name}: its last {size - at:,} bytes are no whole record")
            return
        (length,) = struct.unpack("<Q", head[:8])
        if struct.unpack("<I", head[8:])[0] != masked(crc32c(head[:8])):
            note(f"{name}: damaged from byte {at:,} on, {size - at:,} bytes left out")
            return
        if length > size - at - _HEAD - 4:
            note(f"{name}: its last {size - at:,} bytes are no whole record")
            return
        record, end = file.read(length), file.read(4)
        if len(end) < 4:
            return  # cut while it was read
        if struct.unpack("<I", end)[0] == masked(crc32c(record)):
            yield record
        else:
            note(f"{name}: the record at byte {at:,} has a wrong checksum; left out")
        at += _HEAD + length + 4


def _time(event: dict[int, list[int | bytes]]) -> float:
    times = numbers_in(event.get(1, []), "d")
    return times[-1] if times else 0.0


def _whole(values: list[int | bytes] | None) -> int:
    found = [v for v in values or [] if isinstance(v, int)]
    return found[-1] if found else 0
