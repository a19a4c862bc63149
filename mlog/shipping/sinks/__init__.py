"""Which sink a URL's scheme stands for. A file each; imported when it is used.

Third parties add theirs by an entry point of the group `mlog.sinks`, whose name is the
kind (the scheme up to its `+`) and whose object is a `Factory`. A kind that is mlog's
own cannot be taken.
"""

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from mlog.errors import MlogError
from mlog.shipping.sink import Factory, Sink, Target

__all__ = ["GROUP", "KINDS", "open_sink"]

GROUP = "mlog.sinks"

KINDS: Mapping[str, str] = {
    "azureml": "azureml",
    "clickhouse": "clickhouse",
    "http": "ndjson",
    "https": "ndjson",
    "mlflow": "mlflow",
    "otlp": "otlp",
    "file": "file",
    **dict.fromkeys(("fsspec", "s3", "gs", "gcs", "az", "abfs", "abfss"), "fsspec"),
}
"""Kind to the module here whose `open_sink` makes the sink."""

_BY_HTTP = ("clickhouse", "mlflow", "otlp")


def open_sink(target: Target) -> Sink:
    """Make the sink of a target; nothing is connected yet.

    Raises:
        MlogError: There is no such sink, its library is missing, or the target is wrong.
    """
    kind, host = target.kind, urlsplit(target.url).netloc
    if kind in _BY_HTTP and host and target.url.startswith(f"{kind}:"):
        raise MlogError(
            f"{kind}://{host} says nothing of how to get there: write "
            f"{kind}+https://{host} or {kind}+http://{host}"
        )
    return _factory(kind)(target)


def _factory(kind: str) -> Factory:
    if kind in KINDS:
        module = importlib.import_module(f"mlog.shipping.sinks.{KINDS[kind]}")
        factory: Factory = module.open_sink
        return factory
    found = entry_points(group=GROUP)
    for point in found:
        if point.name == kind:
            try:
                loaded: Factory = point.load()
            except Exception as exc:  # somebody else's code
                raise MlogError(
                    f"the sink {kind!r} of {point.value} cannot be loaded: {exc}"
                ) from exc
            return loaded
    known = ", ".join(sorted({*KINDS, *(point.name for point in found)}))
    raise MlogError(f"no sink for {kind!r}; there are {known}")
