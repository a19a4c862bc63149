"""Runs to make pages of, and what the pages say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest

from mlog.reader.page import run_html

ID = "20261123-182700-3f9a1c"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50
HOSTILE = (
    "</style></div><script>alert('1')</script>\"'><img src=x onerror=a>\x1b[2J\u202e"
)


def moment(seconds: float) -> str:
    """Return a time in the hour from 18:00."""
    minutes, seconds = divmod(seconds, 60)
    return f"2026-11-23T18:{int(minutes):02}:{seconds:09.6f}Z"


class Writing:
    """Writes the files of a run as the format has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seq = 0
        folder.mkdir(parents=True)

    def entry(self, stream: str, at: float = 0, **keys: Any) -> None:
        line = {"ts": moment(at), "seq": self._seq, **keys}
        self._seq += 1
        with open(self.folder / f"{stream}.jsonl", "ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    def event(self, name: str, at: float = 0, /, **data: Any) -> None:
        self.entry("events", at, event=name, data=data)

    def log(self, level: str, msg: str, at: float = 0, **keys: Any) -> None:
        self.entry("logs", at, level=level, logger="train", msg=msg, **keys)

    def metric(self, metric: Mapping[str, Any], step: int | None = None) -> None:
        at = {} if step is None else {"step": step}
        self.entry("metrics", level="INFO", logger="train", **at, metric=metric)

    def value(self, name: str, value: Any) -> None:
        self.entry("metrics", level="INFO", logger="train", value={name: value})

    def artifact(self, path: str, content: bytes, media_type: str = "") -> Path:
        file = self.folder / "artifacts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        data = {"path": path, "size": len(content), "media_type": media_type}
        self.event("run.artifact", **data)
        return file

    def end(self, status: str = "Completed", at: float = 90, **data: Any) -> None:
        self.event("run.end", at, status=status, **data)


@pytest.fixture
def run(tmp_path: Path) -> Writing:
    """A run that has started, and nobody writes any more."""
    run = Writing(tmp_path / "mnist" / ID)
    run.event("writer.start", format=1, attempt=1, host="node7")
    run.event("run.start", experiment="mnist", display_name="brave-otter")
    return run


def page(run: Writing, **options: Any) -> ElementTree.Element:
    """Read the fragment as strictly as an XML reader does."""
    html = run_html(run.folder, **options)
    assert html.isprintable() or "\n" in html
    return ElementTree.fromstring(html)


def tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def words(element: ElementTree.Element) -> str:
    """Return what a page says, without its style."""
    return " ".join(
        text.strip()
        for part in element.iter()
        for text in (*([part.text] if tag(part) != "style" else []), part.tail)
        if text and text.strip()
    )


def badge(element: ElementTree.Element) -> str:
    (found,) = (e for e in element.iter("span") if "badge" in e.get("class", ""))
    return words(found)


def rows(element: ElementTree.Element) -> dict[str, list[str]]:
    """Return the table of metrics: name to cells."""
    return {
        words(row[0]): [words(cell) for cell in row[1:]]
        for row in element.iter("tr")
        if row[0].get("scope") == "row"
    }


def curves(element: ElementTree.Element) -> list[str]:
    return [next(svg.itertext()) for svg in element.iter() if tag(svg) == "svg"]


@pytest.fixture
def hostile(run: Writing) -> Writing:
    """A run in which all that was logged tries to get out."""
    run.event("run.update", display_name=HOSTILE, description=HOSTILE)
    run.event("run.params", **{HOSTILE: HOSTILE})
    run.event("run.tags", **{HOSTILE: HOSTILE})
    run.event("run.child", run=HOSTILE, path=HOSTILE)
    for step in range(3):
        run.metric({HOSTILE: float(step)}, step)
    run.value(HOSTILE + "text", HOSTILE)
    run.event("run.artifact", path=HOSTILE.replace("/", ""), size=1)
    exc = {"type": HOSTILE, "msg": HOSTILE, "traceback": HOSTILE}
    run.log("ERROR", HOSTILE, exc=exc | {"msg": "another"})
    run.end(HOSTILE, error=exc)
    return run
