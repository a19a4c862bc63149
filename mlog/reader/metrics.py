"""All metrics of a run as one dict, each in the shape it was logged in.

    logged                             read
    ---------------------------------  ------------------------------------------------
    one value                          the value
    several values of a name           their list, in the order they were logged
    list, also an empty one            a list; several are put together
    one row                            {column: value}
    several rows, a table, or both     {column: [values]}, None where a row has none
    image, other file, chart           path of the artifact, or their list
    histogram                          {"edges": [...], "counts": [...]}

Values and lists of one name are one list; rows beside values are a list of all, each in
the shape it has alone.

Source of the shapes: Azure ML SDK v1, `Run.get_metrics`, without its exceptions for
lists of one item, tables of one row and rows with other columns.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from mlog.errors import MlogError
from mlog.folder import PRIVATE, Folder
from mlog.reader.series import (
    Attempts,
    Rank,
    Values,
    plain,
    read_values,
)

__all__ = ["read_metrics"]

_LIST, _ROW, _TABLE = "mlog.list", "mlog.row", "mlog.table"
_CHARTS = frozenset(
    {
        "mlog.confusion_matrix",
        "mlog.accuracy_table",
        "mlog.predictions",
        "mlog.residuals",
    }
)
_ENVELOPE = ("schema_type", "schema_version", "data")
_FOLDER = "inode/directory"
_JSON = "application/json"

_Content: TypeAlias = Callable[[Any], Any]


def read_metrics(
    folder: Path,
    name: str | Iterable[str] | None = None,
    *,
    populate: bool = False,
    rank: Rank = None,
    attempts: Attempts = "latest",
) -> dict[str, Any]:
    """Return the metrics of a run, also while it is written; see the module for shapes.

    Integers are exact, NaN and infinities floats. Of ranks and attempts those count
    that count in `read_history`.

    Args:
        folder: The run's.
        name: Only this metric, or these; unknown ones are left out. None: all.
        populate: Put the content in the place of an artifact's path: bytes, or what is
            in a file of JSON.
        rank: As for `read_history`, like `attempts`.

    Raises:
        RunNotFoundError: There is no such folder.
        MlogError: An artifact to put in is not there.
    """
    found = read_values(folder, name, rank=rank, attempts=attempts)
    if not populate:
        return {name: _shaped(values, plain) for name, values in found.items()}
    return {
        name: _shaped(values, partial(_content, folder, name))
        for name, values in found.items()
    }


def _shaped(found: Values, content: _Content) -> Any:
    """Return all values of a name in one."""
    values = found.values
    if found.are_numbers:
        return values if len(values) > 1 else values[0]
    kinds = {*map(_kind, values)}
    if kinds == {_ROW} and len(values) == 1:
        return plain(values[0])
    if kinds <= {_ROW, _TABLE}:
        return _columns(values)
    if _LIST in kinds and not kinds & {_ROW, _TABLE}:
        return [item for value in values for item in _items(value, content)]
    items = list(map(content, values))
    return items if len(items) > 1 else items[0]


def _kind(value: Any) -> str:
    """Return the type of a typed value that can be put together with others, else ""."""
    if type(value) is not dict:
        return ""
    match value:
        case {"type": "mlog.list", "values": list()}:
            return _LIST
        case {"type": "mlog.row", "columns": dict()}:
            return _ROW
        case {"type": "mlog.table", "columns": dict()}:
            return _TABLE
    return ""


def _items(value: Any, content: _Content) -> list[Any]:
    found: list[Any] = content(value) if _kind(value) == _LIST else [content(value)]
    return found


def _columns(values: list[Any]) -> dict[str, list[Any]]:
    """Put rows and tables together; where a column has nothing, None stands."""
    columns: dict[str, list[Any]] = {}
    length = 0
    for value in values:
        part = plain(value)
        if _kind(value) == _ROW:
            part = {column: [cell] for column, cell in part.items()}
        for column, cells in part.items():
            found = columns.setdefault(column, [])
            found += [None] * (length - len(found))
            found += cells if type(cells) is list else [cells]
        length = max(map(len, columns.values()), default=0)
    for found in columns.values():
        found += [None] * (length - len(found))
    return columns


# --- artifacts -----------------------------------------------------------------------


def _content(folder: Path, name: str, value: Any) -> Any:
    """Return what a value holds, or the artifact that it names."""
    if type(value) is not dict:
        return value
    kind, path = value.get("type"), value.get("path")
    if kind in _CHARTS and "data" in value:
        return {key: value[key] for key in _ENVELOPE if key in value}
    if not isinstance(path, str) or value.get("media_type") == _FOLDER:
        return plain(value)
    data = _artifact(folder, name, path)
    is_json = kind in _CHARTS or value.get("media_type") == _JSON
    return _parsed(data) if is_json else data


def _artifact(folder: Path, name: str, path: str) -> bytes:
    """Read an artifact of the run; no link is followed, and nothing outside read."""
    *parents, last = path.split("/")
    try:
        place = Folder.open_below(
            folder, ["artifacts", *parents], PRIVATE, create=False
        )
        with place.open(last) as file:
            return file.read()
    except OSError as exc:
        raise MlogError(
            f"metric {name!r} lies in the artifact {path!r}, which cannot be read "
            f"from {folder / 'artifacts'}: {exc.strerror}; populate=False returns the path"
        ) from exc


def _parsed(data: bytes) -> Any:
    """Return what is in a file of JSON, NaN included; its bytes if it is none."""
    import json

    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
