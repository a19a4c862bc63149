"""What is known of a run as rows of the tables `runs`, `params` and `tags`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from mlog.reader.alive import is_time
from mlog.reader.fields import mapping_from, text_from
from mlog.reader.state import RunState

__all__ = ["Row", "rows_of"]

Row: TypeAlias = dict[str, Any]


def rows_of(table: str, state: RunState) -> Iterator[Row]:
    """Yield the rows that a run has in a table."""
    return _FACTS[table](state)


def _run_rows(state: RunState) -> Iterator[Row]:
    main = [writer for writer in state.writers if writer.main]
    yield {
        **_key(state),
        "experiment_name": _text(state.experiment),
        "name": _text(state.name),
        "status": state.status,
        "created": _time(state.created),
        "updated": _time(state.updated),
        "ended": _time(state.ended),
        "duration": state.duration,
        "attempt": state.attempt,
        "error": _error(state),
        "host": next((w.host for w in main[-1:]), "") or None,
        "commit": text_from(mapping_from(state.start.get("git")).get("commit")) or None,
        "parent": _text(Path(state.parent).name) if state.parent else None,
        "description": _text(state.description) or None,
        "metric": {n: _number(m.get("last")) for n, m in state.metrics.items()},
        "param": {_text(n): _value(v) for n, v in state.params.items()},
        "tag": state.tags,
        "path": _text(os.fspath(state.folder)),
    }


def _param_rows(state: RunState) -> Iterator[Row]:
    for name, value in state.params.items():
        yield {**_key(state), "name": name, "value": _value(value)}


def _tag_rows(state: RunState) -> Iterator[Row]:
    for name, text in state.tags.items():
        yield {**_key(state), "name": name, "value": text}


_FACTS = {"runs": _run_rows, "params": _param_rows, "tags": _tag_rows}


def _key(state: RunState) -> Row:
    folder = state.folder
    return {"experiment": _text(folder.parent.name), "run_id": _text(folder.name)}


def _error(state: RunState) -> str | None:
    if state.error is None:
        return None
    kind, text = (text_from(state.error.get(key)) for key in ("type", "msg"))
    return ": ".join(filter(None, (kind, text))) or None


def _time(ts: str | None) -> str | None:
    return ts if is_time(ts) else None


def _number(value: object) -> object:
    """Return a metric's number, or the text of one that JSON has not."""
    is_number = type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")
    return value if is_number else None


def _value(value: object) -> str | None:
    """Return a param as text: a text as it is, other values as JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _text(text: str) -> str:
    """Return a text that is one: of a path that is none, what can be read."""
    return os.fsencode(text).decode("utf-8", "replace")
