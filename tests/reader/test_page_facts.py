"""What a page says of trouble, from the logs and the end of a run."""

import orjson

from mlog.reader.page import run_text
from mlog.reader.page_facts import read_others
from mlog.reader.state import read_state
from tests.reader.conftest import Writing, moment, page, words

TRACEBACK = (
    'Traceback (most recent call last):\n  File "train.py", line 1\nValueError: x'
)


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


class TestOthers:
    """What was logged and is no number, for a look in passing."""

    def test_how_often_and_the_last(self, run: Writing) -> None:
        run.metric({"loss": 0.5, "odd": "NaN"}, step=1)
        run.value("net", {"type": "mlog.row", "columns": {"a": 1}})
        run.value("net", "none")
        assert read_others(read_state(run.folder)) == {"net": (2, "none")}

    def test_of_many_points_nothing_is_read(self, run: Writing) -> None:
        run.value("net", "x" * 900_000)
        assert list(read_others(read_state(run.folder))) == ["net"]
        for _ in range(9):
            run.value("net", "x" * 999_000)
        assert read_others(read_state(run.folder)) == {}
