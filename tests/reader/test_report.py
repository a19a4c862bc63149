"""A report is one file that needs nothing, hides nothing and lets nothing act."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mlog.errors import MlogError, RunNotFoundError
from mlog.reader.report import MAX_SIZE, report_html
from mlog.reader.report_errors import last_errors, last_lines
from tests.reader.conftest import HOSTILE, PNG, Writing, tag, words

NOW = 1_795_460_000.0


def read(html: str) -> ElementTree.Element:
    """Read a document as strictly as an XML reader does."""
    head, _, rest = html.partition("\n")
    assert head == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def report(*runs: Writing, **options: Any) -> ElementTree.Element:
    return read(report_html([run.folder for run in runs], now=NOW, **options))


def seen(page: ElementTree.Element) -> str:
    return words(next(e for e in page.iter() if tag(e) == "main"))


def titles(page: ElementTree.Element) -> list[str]:
    return [words(e) for e in page.iter("h2")]


def make(root: Path, name: str, **params: Any) -> Writing:
    run = Writing(root / "mnist" / name)
    run.event("run.start", experiment="mnist", display_name=name)
    run.event("run.params", **params)
    for step in range(10):
        run.metric({"loss": len(params) / (step + 1), "same": 1.0}, step)
    run.end()
    return run


class TestDocument:
    """It stands alone, whatever was logged."""

    def test_head(self, run: Writing) -> None:
        page = report(run)
        head = page.find("head")
        assert head is not None
        assert head.findtext("title") == "mnist / brave-otter · NotResponding"
        policies = [m.get("content") for m in head.iter("meta") if m.get("http-equiv")]
        (policy,) = policies
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert "script" not in policy
        assert [words(e) for e in page.iter("h1")] == [
            "Run report 2026-11-23 18:53:20 UTC"
        ]

    @pytest.mark.parametrize("count", [1, 2])
    def test_nothing_that_was_logged_can_act(
        self, hostile: Writing, count: int
    ) -> None:
        hostile.event("run.environment", packages={HOSTILE: HOSTILE}, platform=HOSTILE)
        hostile.log("ERROR", HOSTILE, step=1, extra={HOSTILE: HOSTILE})
        page = report(*[hostile] * count)
        names = {tag(e) for e in page.iter()}
        assert not names & {"script", "img", "iframe", "object", "link", "base"}
        assert not [k for e in page.iter() for k in e.attrib if k.startswith("on")]
        assert "<script>alert('1')</script>" in seen(page)

    @pytest.mark.parametrize("count", [1, 2])
    def test_nothing_is_asked_for(self, hostile: Writing, count: int) -> None:
        hostile.artifact("a.png", PNG, "image/png")
        html = report_html([hostile.folder] * count, now=NOW)
        html = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|url\(|@import|<link|<script", html)

    def test_nothing_is_written(self, run: Writing) -> None:
        def files() -> dict[Path, tuple[int, int]]:
            found = {p: p.stat() for p in run.folder.parent.rglob("*")}
            return {p: (s.st_size, s.st_mtime_ns) for p, s in found.items()}

        before = files()
        report(run, run)
        assert files() == before

    def test_no_run_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RunNotFoundError):
            report_html([tmp_path])

    @pytest.mark.parametrize("count", [0, 65])
    def test_wrong_number_of_runs(self, run: Writing, count: int) -> None:
        with pytest.raises(MlogError, match=f"1 to 64 runs, got {count}"):
            report_html([run.folder] * count)


class TestErrors:
    """The last errors stand with the lines around them."""

    def test_five_lines_before_and_after(self, run: Writing) -> None:
        for number in range(20):
            level = "ERROR" if number == 10 else "INFO"
            run.log(level, f"line {number}", number)
        (found,) = last_errors(run.folder)
        messages = [entry["msg"] for entry in found.entries]
        assert messages == [f"line {number}" for number in range(5, 16)]
        assert found.last["msg"] == "line 10"
        text = seen(report(run))
        assert "line 5" in text
        assert "line 4" not in text

    def test_the_metrics_of_that_time_are_told(self, run: Writing) -> None:
        run.metric({"loss": 0.5, "<acc>": "NaN"}, 7)
        run.log("ERROR", "bad")
        run.metric({"loss": 0.25}, 8)
        (found,) = last_errors(run.folder)
        assert found.then["loss"].value == 0.5
        html = report_html([run.folder])
        assert "metrics then: step 7, loss 0.5, &lt;acc&gt; NaN" in html

    def test_errors_near_each_other_are_one_group(self, run: Writing) -> None:
        for number in range(40):
            level = "ERROR" if number in (3, 8, 39) else "INFO"
            run.log(level, str(number), number)
        last, first = last_errors(run.folder)
        assert [e["msg"] for e in last.entries] == [str(n) for n in range(34, 40)]
        assert [e["msg"] for e in first.entries] == [str(n) for n in range(14)]
        assert first.places == [3, 8]

    def test_only_the_last_five(self, run: Writing) -> None:
        for number in range(200):
            level = "CRITICAL" if number % 20 == 0 else "INFO"
            run.log(level, str(number), number)
        found = last_errors(run.folder)
        assert [one.last["msg"] for one in found] == ["180", "160", "140", "120", "100"]

    def test_lines_are_those_of_the_same_process(self, run: Writing) -> None:
        run.log("INFO", "main", 1)
        run.log("ERROR", "broke", 2)
        (run.folder / "logs.jsonl").rename(run.folder / "logs-r1.jsonl")
        run.log("INFO", "other", 1.5)
        (found,) = last_errors(run.folder)
        assert [entry["msg"] for entry in found.entries] == ["main", "broke"]
        assert "process r1" in seen(report(run))

    def test_a_field_that_looks_like_a_level_is_none(self, run: Writing) -> None:
        run.log("INFO", 'says {"level":"ERROR"}', extra={"level": "ERROR"})
        assert last_errors(run.folder) == []

    def test_damaged_lines_are_passed_over(self, run: Writing) -> None:
        run.log("INFO", "first")
        with open(run.folder / "logs.jsonl", "ab") as file:
            file.write(b'{"ts":"2026","seq":1,"level":"ERROR"\nnonsense\n\n')
        run.log("ERROR", "second")
        with open(run.folder / "logs.jsonl", "ab") as file:
            file.write(b'{"ts":"2026-11-23T18:00:00Z","seq":9,"level":"ERROR","msg":')
        (found,) = last_errors(run.folder)
        assert [entry["msg"] for entry in found.entries] == ["first", "second"]

    def test_a_link_is_not_followed(self, run: Writing, tmp_path: Path) -> None:
        run.log("ERROR", "secret")
        (run.folder / "logs.jsonl").rename(tmp_path / "elsewhere")
        (run.folder / "logs.jsonl").symlink_to(tmp_path / "elsewhere")
        assert last_errors(run.folder) == []
        assert last_lines(run.folder) == []

    def test_traceback_is_there(self, run: Writing) -> None:
        exc = {"type": "ValueError", "msg": "no", "traceback": "Trace\n  line 3\n"}
        run.log("ERROR", "broke", exc=exc)
        assert "line 3" in seen(report(run))

    def test_an_error_that_was_not_logged_shows_the_last_lines(
        self, run: Writing
    ) -> None:
        for number in range(20):
            run.log("INFO", f"line {number}", number)
        run.end("Failed", error={"type": "ValueError", "msg": "no"})
        page = report(run)
        assert "Last lines" in titles(page)
        assert "line 10" in seen(page)
        assert "line 9 " not in seen(page)


class TestEnvironment:
    """What the run was computed with."""

    def test_facts(self, run: Writing) -> None:
        run.event(
            "run.environment",
            **{"platform": "Linux", "cpu": {"count": 8, "model": "EPYC"}},
            **{"gpu": ["H100", "H100"], "ram_bytes": 64_000_000_000},
            **{"packages": {"numpy": "2.1"}, "git": {"dirty": True}},
        )
        text = seen(report(run))
        for words_of in ("EPYC × 8", "H100, H100", "64.0 GB", "numpy 2.1"):
            assert words_of in text
        assert "working tree with changes" in text

    @pytest.mark.parametrize("odd", [None, 5, "x", [1], {"count": "x"}])
    def test_odd_facts_do_no_harm(self, run: Writing, odd: object) -> None:
        keys = ("platform", "cpu", "gpu", "ram_bytes", "packages", "git")
        run.event("run.environment", **dict.fromkeys(keys, odd))
        assert "Run report" in seen(report(run))


class TestComparison:
    """Several runs: what differs first, then curves over each other and numbers."""

    def test_order(self, tmp_path: Path) -> None:
        one, two = make(tmp_path, "one", rate=1), make(tmp_path, "two", rate=2, n=1)
        assert [title.split(" last")[0] for title in titles(report(one, two))][:5] == [
            *("Params that differ 2", "Curves", "Metrics", "Runs", "Each run")
        ]

    def test_one_picture_for_a_metric(self, tmp_path: Path) -> None:
        one, two = make(tmp_path, "one", rate=1), make(tmp_path, "two", rate=2, n=1)
        page = report(one, two)
        (charts,) = (e for e in page.iter("div") if "charts" in e.get("class", ""))
        first, second = list(charts)
        assert next(first.itertext()).splitlines() == [
            "loss",
            "one: last 0.1 at step 9, min 0.1, max 1",
            "two: last 0.2 at step 9, min 0.2, max 2",
        ]
        assert next(second.itertext()).startswith("same\n")
        drawn = [e.get("style", "") for e in first.iter() if tag(e) == "g"]
        assert [s[:24] for s in drawn if s] == [
            "--mlog-line:var(--run-1)",
            "--mlog-line:var(--run-2)",
        ]

    def test_each_run_looks_different(self, tmp_path: Path) -> None:
        """Sixteen runs, by colour and dashes; others stand in the tables alone."""
        run = make(tmp_path, "one")
        html = report_html([run.folder] * 18, now=NOW)
        (legend,) = re.findall(r'<ul class="legend">.*?</ul>', html)[:1]
        looks = re.findall(r'style="stroke:(\S+?)"( stroke-dasharray="[^"]*")?', legend)
        assert len(looks) == len({*looks}) == 16
        assert legend.count("<li>") == 18
        assert "Curves show the first 16 runs." in html

    def test_number_with_its_distance(self, tmp_path: Path) -> None:
        one, two = make(tmp_path, "one", rate=1), make(tmp_path, "two", rate=2, n=1)
        assert "0.2 +0.1 (+100 %) 0.2 … 2" in seen(report(one, two))

    def test_what_is_the_same_is_folded(self, tmp_path: Path) -> None:
        page = report(make(tmp_path, "one", seed=7), make(tmp_path, "two", seed=7))
        assert "Params all the same" in titles(page)
        folded = [words(e) for e in page.iter("details")]
        assert folded[0] == "The same in all 1 seed 7"

    def test_each_run_can_be_unfolded(self, tmp_path: Path) -> None:
        page = report(make(tmp_path, "one"), make(tmp_path, "two"))
        folded = [words(next(e.iter("summary"))) for e in page.iter("details")]
        assert [f for f in folded if "mnist" in f] == [
            "mnist / one ✓ Completed",
            "mnist / two ✓ Completed",
        ]

    def test_runs_without_anything(self, tmp_path: Path) -> None:
        runs = [Writing(tmp_path / "mnist" / name) for name in ("one", "two")]
        for run in runs:
            run.event("run.start")
        assert "2 runs compared" in seen(report(*runs))

    def test_no_curve_where_nothing_is_finite(self, tmp_path: Path) -> None:
        runs = [Writing(tmp_path / "mnist" / name) for name in ("one", "two")]
        for run in runs:
            run.metric({"loss": "NaN"}, 1)
            run.metric({"loss": "NaN"}, 2)
        assert "Curves" not in titles(report(*runs))


def test_size_is_bounded(tmp_path: Path) -> None:
    """What has no room is left out, and named."""
    evil = "<&\"'>" * 20
    params = {f"p{n}{evil}": evil * 3 for n in range(300)}
    runs = []
    for number in range(8):
        run = make(tmp_path, f"run{number}", **{**params, "p": number})
        for name in range(4):
            run.artifact(f"{name}.png", PNG + b"\xff" * 90_000, "image/png")
        runs.append(run)
    html = report_html([run.folder for run in runs], now=NOW)
    assert len(html.encode()) <= MAX_SIZE
    assert "mnist / run7" in html
    assert "Left out, to keep this file below 5 MB" in seen(read(html))


def test_long_names_do_not_run_into_each_other(tmp_path: Path) -> None:
    """The heading of a table of several runs is broken into lines."""
    runs = [make(tmp_path, name * 20, rate=1) for name in ("long ", "longer ")]
    html = report_html([run.folder for run in runs], now=NOW)
    (rule,) = re.findall(r"\.wide thead th\{([^}]*)\}", html)
    assert "nowrap" not in rule
