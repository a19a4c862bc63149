"""One run as a page: all facts, nothing that acts, and never too much."""

import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest

from mlog.errors import RunNotFoundError
from mlog.reader.page import read_page, run_html, run_text

ID = "20261123-182700-3f9a1c"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE = (
    "</style></div><script>alert('1')</script>\"'><img src=x onerror=a>\x1b[2J\u202e"
)
TRACEBACK = (
    'Traceback (most recent call last):\n  File "train.py", line 1\nValueError: x'
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


class TestHead:
    """What the run is, and how it is."""

    def test_facts(self, run: Writing) -> None:
        run.event("run.child", run="a", path="/a")
        run.event("run.child", run="b", path="/b")
        run.event("run.update", description="Half the warm-up.")
        run.end(at=75)
        text = words(page(run))
        assert "mnist / brave-otter" in text
        for fact in (
            f"id {ID}",
            "started 2026-11-23 18:00:00 UTC",
            "duration 1 min 15 s",
            "children 2",
            "host node7",
            "Half the warm-up.",
        ):
            assert fact in text

    def test_folder_is_text_and_link(self, run: Writing) -> None:
        (link,) = page(run).iter("a")
        assert link.get("href") == run.folder.as_uri()
        assert link.text == str(run.folder)

    def test_first_attempt_is_not_worth_a_word(self, run: Writing) -> None:
        assert "attempt 1" not in words(page(run))

    def test_later_attempt_is_told(self, run: Writing) -> None:
        start = {"format": 1, "attempt": 2, "host": "node7"}
        for name, data in (("writer.start", start), ("run.start", {})):
            entry = {"ts": moment(9), "seq": 0, "event": name, "data": data}
            with open(run.folder / "events-a2.jsonl", "ab") as file:
                file.write(orjson.dumps(entry) + b"\n")
        assert "attempt 2" in words(page(run))

    @pytest.mark.parametrize(
        ("status", "symbol"), [("Completed", "✓"), ("Failed", "✕"), ("Canceled", "■")]
    )
    def test_status_is_a_word_and_a_symbol(
        self, run: Writing, status: str, symbol: str
    ) -> None:
        run.end(status)
        assert badge(page(run)) == f"{symbol} {status}"
        assert f"[{symbol} {status}]" in run_text(run.folder)

    def test_run_without_end_and_writer_is_not_responding(self, run: Writing) -> None:
        assert badge(page(run)) == "? NotResponding"

    def test_tags(self, run: Writing) -> None:
        run.event("run.tags", owner="me", reviewed=None)
        assert "owner me reviewed" in words(page(run))
        assert "owner=me  reviewed=" in run_text(run.folder)

    def test_params_are_texts_or_json(self, run: Writing) -> None:
        run.event("run.params", lr=0.1, name="adam", betas=[0.9, None], on=True)
        text = words(page(run))
        for pair in ("lr 0.1", "name adam", "betas [0.9,null]", "on true"):
            assert pair in text

    def test_folder_without_run(self, tmp_path: Path) -> None:
        for make in (run_html, run_text):
            with pytest.raises(RunNotFoundError):
                make(tmp_path)

    def test_summary_alone_makes_a_page(self, tmp_path: Path) -> None:
        document = {"status": "Completed", "metrics": {"loss": {"last": 1, "count": 3}}}
        (tmp_path / "run.json").write_bytes(orjson.dumps(document))
        assert rows(page_of(tmp_path))["loss"][0] == "1"
        assert "loss" in run_text(tmp_path)


def page_of(folder: Path) -> ElementTree.Element:
    return ElementTree.fromstring(run_html(folder))


class TestTrouble:
    """Warnings and errors are counted, and the last error is told."""

    def test_counts(self, run: Writing) -> None:
        for level in ("DEBUG", "INFO", "WARNING", "WARNING", "ERROR", "CRITICAL"):
            run.log(level, "x")
        assert "2 warnings, 2 errors" in words(page(run))

    def test_one_is_not_plural(self, run: Writing) -> None:
        run.log("WARNING", "x")
        assert "1 warning " in words(page(run)) + " "

    def test_none_is_said_in_a_word(self, run: Writing) -> None:
        assert "log no warnings or errors" in words(page(run))

    def test_level_of_a_field_is_not_counted(self, run: Writing) -> None:
        run.log("INFO", '"level":"ERROR"', extra={"level": "ERROR"})
        run.entry("logs", level="INFO", logger="", extra={"level": "WARNING"})
        assert "log no warnings or errors" in words(page(run))

    def test_line_without_its_newline_is_not_there_yet(self, run: Writing) -> None:
        run.log("ERROR", "first")
        with open(run.folder / "logs.jsonl", "ab") as file:
            file.write(b'{"ts":"2026-11-23T18:00:00.000000Z","seq":9,"level":"ERROR"')
        assert "1 error" in words(page(run))

    def test_last_error_of_all_writers_with_its_traceback_folded(
        self, run: Writing
    ) -> None:
        exc = {"type": "ValueError", "msg": "x", "traceback": TRACEBACK}
        run.log("ERROR", "older", at=5)
        run.log("ERROR", "newest", at=9, exc=exc)
        other = {"ts": moment(7), "seq": 0, "level": "ERROR", "logger": "b", "msg": "c"}
        (run.folder / "logs-r1.jsonl").write_bytes(orjson.dumps(other) + b"\n")
        picture = page(run)
        assert "Last error, 2026-11-23 18:00:09 UTC train: ERROR newest" in words(
            picture
        )
        (pre,) = picture.iter("pre")
        assert pre.text == TRACEBACK
        folded = [e for e in picture.iter("details") if pre in e.iter()]
        assert folded
        assert folded[0].get("open") is None

    def test_error_that_ended_the_run(self, run: Writing) -> None:
        run.end("Failed", error={"type": "OSError", "msg": "full", "traceback": "tb"})
        assert "Ended by OSError full" in words(page(run))
        assert "Ended by: OSError full" in run_text(run.folder)

    def test_error_that_was_logged_and_ended_the_run_is_told_once(
        self, run: Writing
    ) -> None:
        error = {"type": "OSError", "msg": "full", "traceback": TRACEBACK}
        run.log("ERROR", "giving up", exc=error)
        run.end("Failed", error=error)
        assert len(list(page(run).iter("pre"))) == 1

    def test_long_traceback_is_cut_to_its_end(self, run: Writing) -> None:
        error = {"type": "E", "msg": "m", "traceback": "a" * 50_000 + "end"}
        run.end("Failed", error=error)
        (pre,) = page(run).iter("pre")
        assert str(pre.text).endswith("aend")
        assert len(str(pre.text)) < 11_000

    def test_very_long_log_is_read_from_its_end(self, run: Writing) -> None:
        run.log("ERROR", "far away")
        filler = orjson.dumps(
            {"ts": moment(1), "seq": 1, "level": "INFO", "msg": "x" * 1_000_000}
        )
        with open(run.folder / "logs.jsonl", "ab") as file:
            file.writelines([filler + b"\n"] * 35)
        run.log("WARNING", "near")
        assert "1 warning in the last 32 MB of the log" in words(page(run))


class TestMetrics:
    """Last, least and greatest value, and the curve."""

    def test_table(self, run: Writing) -> None:
        for step, loss in enumerate([3.0, 1.0, 2.5]):
            run.metric({"loss": loss}, step)
        assert rows(page(run))["loss"][:4] == ["2.5", "1", "3", "3"]

    def test_what_is_not_finite_is_counted(self, run: Writing) -> None:
        for loss in (1.0, "NaN", "NaN", "Infinity", 2.0):
            run.metric({"loss": loss})
        *_, last = rows(page(run))["loss"]
        assert last == "▁××↑█ 2 NaN, 1 Inf"
        assert "2 NaN, 1 Inf" in run_text(run.folder)

    def test_exact_values_are_in_tooltips(self, run: Writing) -> None:
        run.metric({"loss": 1 / 3})
        cells = [cell.get("title") for cell in page(run).iter("td")]
        assert "0.3333333333333333" in cells

    def test_first_metrics_with_several_points_are_drawn(self, run: Writing) -> None:
        run.metric({"once": 1.0})
        for step in range(3):
            run.metric({f"m{k}": float(k + step) for k in range(20)}, step)
        drawn = curves(page(run, max_curves=5))
        assert [text.partition(":")[0] for text in drawn] == [f"m{k}" for k in range(5)]
        assert curves(page(run, max_curves=0)) == []
        assert len(rows(page(run))) == 21

    def test_what_is_no_number_is_shown_as_text(self, run: Writing) -> None:
        run.value("note", "<b>hi</b>")
        run.value("note", "bye")
        run.value("cells", {"type": "mlog.list", "values": [1, 2]})
        assert rows(page(run))["note"][:2] == ["bye", "2"]
        assert rows(page(run))["cells"][0] == "[1,2]"
        text = run_text(run.folder)
        assert "note (2 times)  bye" in text
        assert "cells  [1,2]" in text

    def test_nothing_logged_has_no_table(self, run: Writing) -> None:
        assert rows(page(run)) == {}
        assert "metrics" not in run_text(run.folder)

    def test_end_tells_of_metrics_whose_points_are_gone(self, run: Writing) -> None:
        facts = {"last": "NaN", "min": 1, "max": 2, "count": 7}
        run.end(metrics={"loss": facts})
        assert rows(page(run))["loss"][:4] == ["NaN", "1", "2", "7"]


class TestArtifacts:
    """Small images are shown, all files are named."""

    def images(self, run: Writing) -> list[str]:
        found = (e.get("src") or "" for e in page(run).iter("img"))
        return [src.partition(",")[0] for src in found]

    def test_images_lie_in_the_page(self, run: Writing) -> None:
        run.artifact("plots/a.png", PNG, "image/png")
        run.artifact("b.jpg", b"\xff\xd8\xff\xe0", "image/jpeg")
        run.artifact("c.gif", b"GIF89a", "image/gif")
        run.artifact("d.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp")
        run.artifact("e.svg", SVG, "image/svg+xml")
        kinds = ("png", "jpeg", "gif", "webp", "svg+xml")
        assert self.images(run) == [f"data:image/{kind};base64" for kind in kinds]
        assert "plots/a.png" in words(page(run))

    def test_svg_is_an_image_and_no_part_of_the_page(self, run: Writing) -> None:
        """Browsers run no script of an image."""
        run.artifact("e.svg", SVG, "image/svg+xml")
        assert "script" not in {tag(e) for e in page(run).iter()}

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (PNG + b"\0" * 200_000, "image/png"),
            (b"<html><svg>", "image/svg+xml"),
            (b"<!doctype html>", "image/png"),
            (PNG, "application/octet-stream"),
        ],
        ids=["large", "html as svg", "html as png", "no image by its type"],
    )
    def test_is_not_shown(self, run: Writing, content: bytes, media_type: str) -> None:
        run.artifact("a.png", content, media_type)
        assert self.images(run) == []
        assert "a.png" in words(page(run))

    def test_at_most_six(self, run: Writing) -> None:
        for number in range(9):
            run.artifact(f"{number}.png", PNG, "image/png")
        assert len(self.images(run)) == 6

    def test_all_images_together_leave_the_page_small(self, run: Writing) -> None:
        for number in range(6):
            run.artifact(f"{number}.png", PNG + os.urandom(190_000), "image/png")
        assert len(run_html(run.folder)) < 1_000_000
        assert len(self.images(run)) == 1 or len(self.images(run)) == 2

    @pytest.mark.parametrize("level", ["file", "folder"])
    def test_link_is_not_followed(
        self, run: Writing, tmp_path: Path, level: str
    ) -> None:
        secret = tmp_path / "secret"
        secret.mkdir()
        (secret / "a.png").write_bytes(PNG)
        file = run.artifact("plots/a.png", PNG, "image/png")
        file.unlink()
        if level == "file":
            file.symlink_to(secret / "a.png")
        else:
            file.parent.rmdir()
            file.parent.symlink_to(secret)
        assert self.images(run) == []

    @pytest.mark.parametrize("path", ["../x.png", "/etc/x.png", "a/../../x.png"])
    def test_path_out_of_the_run_is_not_followed(self, run: Writing, path: str) -> None:
        (run.folder / "x.png").write_bytes(PNG)
        run.event("run.artifact", path=path, size=9, media_type="image/png")
        assert self.images(run) == []

    def test_missing_file_is_named(self, run: Writing) -> None:
        run.artifact("a.png", PNG, "image/png").unlink()
        assert self.images(run) == []
        assert "a.png 58 B" in words(page(run))


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


class TestNothingActs:
    """Whatever was logged is text."""

    def test_only_own_elements_and_attributes(self, hostile: Writing) -> None:
        elements = list(page(hostile).iter())
        assert not {tag(e) for e in elements} & {"script", "img", "iframe", "object"}
        assert not [key for e in elements for key in e.attrib if key.startswith("on")]
        assert words(page(hostile)).count("<script>alert('1')</script>") >= 9

    def test_controls_are_shown(self, hostile: Writing) -> None:
        for text in (run_html(hostile.folder), run_text(hostile.folder)):
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert r"\x1b[2J\u202e" in text

    def test_page_asks_for_nothing(self, hostile: Writing) -> None:
        """No request, no script, nothing of the page around it is touched."""
        hostile.artifact("a.png", PNG, "image/png")
        html = run_html(hostile.folder)
        html = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|url\(|@import|<link|<script", html)
        links = {e.get("href", "")[:8] for e in page(hostile).iter("a")}
        assert links == {"file:///"}

    def test_styles_are_for_the_page_alone(self, run: Writing) -> None:
        (style,) = page(run).iter("style")
        rules = re.sub(r"@media\([^)]*\)\{(.*?\})\}", r"\1", str(style.text))
        for selectors in re.findall(r"([^{}]+)\{", rules):
            for selector in selectors.split(","):
                assert ".mlog-run.mlog-run" in selector

    @pytest.mark.parametrize("name", ["events", "metrics", "logs"])
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0\xff\n",
            b'{"ts":1,"seq":"a"}\n[]\n7\n{"ts"\n',
            b'{"ts":"2026-11-23T18:00:00.000000Z","seq":9,"level":"ERROR","msg":[1],'
            b'"metric":[],"exc":7,"event":{},"data":3,"logger":{}}\n',
        ],
    )
    def test_broken_files_make_a_page_too(
        self, run: Writing, name: str, content: bytes
    ) -> None:
        run.metric({"loss": 1.0})
        with open(run.folder / f"{name}.jsonl", "ab") as file:
            file.write(content)
        page(run)
        run_text(run.folder)

    def test_values_of_any_shape_make_a_page(self, run: Writing) -> None:
        odd = {"a": None, "b": [[1]], "c": {"d": 2**63}, "e": math.pi, "f": ""}
        run.event("run.params", **odd)
        run.end("Failed", error={"type": 7, "msg": [1], "traceback": {}})
        page(run)
        run_text(run.folder)


class TestText:
    """The same for a terminal."""

    def test_facts(self, run: Writing) -> None:
        for step in range(8):
            run.metric({"loss": step / 2}, step)
        run.event("run.params", lr=0.1)
        run.artifact("model.pt", b"x" * 12_345)
        run.log("WARNING", "slow")
        run.end(at=75)
        assert run_text(run.folder).split("\n") == [
            "mnist / brave-otter  [✓ Completed]",
            f"  id        {ID}",
            "  started   2026-11-23 18:00:00 UTC",
            "  duration  1 min 15 s",
            "  host      node7",
            "  log       1 warning",
            f"  folder    {run.folder}"[:100],
            "metrics (1)",
            "                  last  min  max  points",
            "  loss  ▁▂▃▄▅▆▇█   3.5    0  3.5       8",
            "params (1)",
            "  lr  0.1",
            "artifacts (1)",
            "    12.3 kB  model.pt",
        ]

    @pytest.mark.parametrize("width", [60, 100, 300])
    def test_lines_fit(self, hostile: Writing, width: int) -> None:
        hostile.metric({"long/" * 50 + "name": 1.0})
        lines = run_text(hostile.folder, width=width).split("\n")
        assert max(map(len, lines)) <= width

    def test_end_of_the_traceback_is_shown(self, run: Writing) -> None:
        traceback = "\n".join(f"line {n}" for n in range(50))
        run.end("Failed", error={"type": "E", "msg": "m", "traceback": traceback})
        text = run_text(run.folder)
        assert "    line 49" in text
        assert "line 1\n" not in text

    def test_too_narrow_is_refused(self, run: Writing) -> None:
        with pytest.raises(ValueError, match="width must be at least 60, got 20"):
            run_text(run.folder, width=20)


class TestBounds:
    """A page of a large run is quick, small, and says what it leaves out."""

    def test_long_lists_are_cut(self, run: Writing) -> None:
        run.metric({f"m{n}": n for n in range(500)})
        run.event("run.params", **{f"p{n}": "x" * 1_000 for n in range(500)})
        run.event("run.tags", **{f"t{n}": "x" * 1_000 for n in range(500)})
        for n in range(100):
            run.event("run.artifact", path=f"{n}.txt", size=1)
        text = words(page(run))
        assert text.count("… and 200 more") == 3
        assert "… and 40 more" in text
        assert len(run_text(run.folder).split("\n")) < 110

    def large(self, run: Writing, lines: int, names: int) -> None:
        """Log as many lines, the last with a spike."""
        facts = {
            f"m{k}": {"last": 9, "min": 0, "max": 9, "count": lines}
            for k in range(names)
        }
        metric = {f"m{k}": 0.12345678901234567 for k in range(names)}
        line = {"ts": moment(1), "seq": 0, "level": "INFO", "logger": "train"}
        with open(run.folder / "metrics.jsonl", "wb") as file:
            for step in range(lines):
                if step == lines - 1:
                    metric = dict.fromkeys(metric, 9.0)
                entry = {**line, "seq": step, "step": step, "metric": metric}
                file.write(orjson.dumps(entry) + b"\n")
        run.end(metrics=facts)

    @pytest.mark.slow
    def test_million_points_of_two_hundred_metrics(self, run: Writing) -> None:
        self.large(run, lines=5_000, names=200)
        before = time.process_time()
        html = run_html(run.folder)
        assert time.process_time() - before < 2  # 0.5 s on a free core
        assert len(html) < 1_000_000
        assert len(rows(ElementTree.fromstring(html))) == 200
        assert html.count("<svg") == 12
        assert "sample" not in html

    @pytest.mark.slow
    def test_more_points_are_sampled_which_is_said(self, run: Writing) -> None:
        self.large(run, lines=400_000, names=1)
        before = time.process_time()
        html = run_html(run.folder)
        assert time.process_time() - before < 2
        assert "curves show a sample of them" in words(ElementTree.fromstring(html))
        assert rows(ElementTree.fromstring(html))["m0"][:4] == [
            "9",
            "0",
            "9",
            "400,000",
        ]
        assert 50_000 < len(read_page(run.folder).histories["m0"]) < 300_000
        assert "sample" in run_text(run.folder)
