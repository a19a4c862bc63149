"""A page for a terminal."""

import pytest

from mlog.reader.page import run_text
from mlog.reader.page_words import cut
from tests.reader.conftest import ID, Writing


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
            cut(f"  folder    {run.folder}", 100),
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
