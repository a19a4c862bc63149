"""What the events of a run change in MLflow: params, tags, name, status, models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlog.reader.fields import mapping_from, text_from
from mlog.shipping.sinks.mlflow_batches import param_text, status_of, tag_text
from mlog.shipping.sinks.mlflow_names import is_long, key_of, long_tag

__all__ = ["Changes", "Texts", "changes_of", "start_tags"]

Texts = dict[str, tuple[str, int]]
"""Key to text, and the index of the entry that says so."""

_FINAL = ("Completed", "Failed", "Canceled")


@dataclass(slots=True)
class Changes:
    """What some events come to.

    Attributes:
        params: To set.
        tags: To set; the last of a name counts.
        removed: Keys of tags to delete.
        name: Of the run, None where it does not change.
        status: In MLflow's words; None where nothing says that the run goes on.
        models: What `run.model` events say, with their indices.
        refused: Index of an event to why it cannot be told to MLflow.
    """

    params: Texts = field(default_factory=dict)
    tags: Texts = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    name: str | None = None
    status: str | None = None
    models: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def changes_of(entries: Sequence[Mapping[str, Any]]) -> Changes:
    """Put some events of a run together, in their order.

    The end of a run is left out: the shipper tells it when all else is there.
    """
    changes = Changes()
    for index, entry in enumerate(entries):
        data = mapping_from(entry.get("data"))
        match entry.get("event"):
            case "writer.start" if not data.get("rank"):
                for tag, key in (("mlflow.user", "user"), ("mlog.host", "host")):
                    if text := text_from(data.get(key)):
                        changes.tags[tag] = tag_text(text), index
            case "run.start":
                changes.status = "RUNNING"
            case "run.status" if text_from(data.get("status")) not in _FINAL:
                changes.status = status_of(text_from(data.get("status")))
            case "run.params":
                _add_params(changes, data, index)
            case "run.tags":
                _add_tags(changes, data, index)
            case "run.tags_removed":
                _remove_tags(changes, data)
            case "run.properties":
                _add_tags(changes, data, index, prefix="mlog.property.")
            case "run.update":
                _update(changes, data, index)
            case "run.environment":
                if platform := text_from(data.get("platform")):
                    changes.tags["mlog.platform"] = tag_text(platform), index
            case "run.model":
                changes.models.append((index, data))
            case "run.dropped":
                _tell_dropped(changes, data, index)
            case "ship.gap":  # the shipper's own: it came too late for a segment
                text = (
                    f"{text_from(data.get('segment'))} was removed before it was sent"
                )
                changes.tags["mlog.dropped"] = tag_text(text), index
    return changes


def start_tags(start: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags by which MLflow's pages show where a run comes from.

    Args:
        start: What `run.start` says.
    """
    argv, git = start.get("argv"), mapping_from(start.get("git"))
    found = {
        "mlflow.source.name": argv[0] if isinstance(argv, list) and argv else "",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.source.git.branch": git.get("branch"),
        "mlog.python": start.get("python"),
        "mlog.cwd": start.get("cwd"),
    }
    return {k: tag_text(v) for k, v in found.items() if v and isinstance(v, str)}


def _add_params(changes: Changes, data: Mapping[str, Any], index: int) -> None:
    for name, value in data.items():
        key, text = key_of(name), param_text(value)
        first, _ = changes.params.setdefault(key, (text, index))
        if first != text:
            changes.refused[index] = f"param {name!r} is set already, to {first!r}"
        _tell_name(changes, name, index)


def _add_tags(
    changes: Changes, data: Mapping[str, Any], index: int, prefix: str = ""
) -> None:
    for name, value in data.items():
        if value is None or isinstance(value, str):
            key = key_of(prefix + name)
            changes.tags[key] = tag_text(value or ""), index
            changes.removed.discard(key)
            _tell_name(changes, prefix + name, index)


def _remove_tags(changes: Changes, data: Mapping[str, Any]) -> None:
    names = data.get("keys")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str):
            changes.tags.pop(key_of(name), None)
            changes.removed.add(key_of(name))


def _update(changes: Changes, data: Mapping[str, Any], index: int) -> None:
    if name := text_from(data.get("display_name")):
        changes.name = name
    if "description" in data:
        text = text_from(data["description"])
        changes.tags["mlflow.note.content"] = tag_text(text), index


def _tell_dropped(changes: Changes, data: Mapping[str, Any], index: int) -> None:
    reason = text_from(data.get("reason")) or "no room"
    text = f"{data.get('count', 'some')} entries were not kept: {reason}"
    changes.tags["mlog.dropped"] = tag_text(text), index


def _tell_name(changes: Changes, name: str, index: int) -> None:
    if is_long(name):
        changes.tags[long_tag(name)] = tag_text(name), index
