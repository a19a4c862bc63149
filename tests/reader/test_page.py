"""One run as a page: all facts, nothing that acts, and never too much."""

import math
import time
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from mlog.errors import RunNotFoundError
from mlog.reader.page import run_html, run_text
from mlog.reader.page_facts import read_page
from tests.reader.conftest import (
    ID,
    Writing,
    badge,
    curves,
    moment,
    page,
    rows,
    words,
)


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
        assert rows(ElementTree.fromstring(run_html(tmp_path)))["loss"][0] == "1"
        assert "loss" in run_text(tmp_path)


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


class TestNothingActs:
    """Whatever was logged is text."""

    def test_controls_are_shown(self, hostile: Writing) -> None:
        for text in (run_html(hostile.folder), run_text(hostile.folder)):
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert r"\x1b[2J\u202e" in text

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
