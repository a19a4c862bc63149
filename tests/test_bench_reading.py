"""The reading bench runs, so that it does not rot; its figures are nobody's here."""

import subprocess
import sys

import pytest

pytest.importorskip("duckdb")


@pytest.mark.slow
def test_every_part_of_it_runs(capfd: pytest.CaptureFixture[str]) -> None:
    """Small, and in a process of its own: it starts runs and other processes."""
    line = [sys.executable, "-m", "tests.bench.reading", "--quick"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for row in (
        "histories, cached",
        "get_metrics, cold",
        "ls, process",
        "histories of all",
        "where run_id",
        "mlog tail --grep",
        "jump to a time",
        "tail -f, p95",
        "memory, verify",
    ):
        assert row in done.stdout
