"""Listing the runs of a large root."""

import shutil
from pathlib import Path

from click.testing import CliRunner

import mlog
from mlog.cli.ls import command as ls
from tests.bench.reading_table import Setting, Table, command, run_quietly, timed


def many_runs(root: Path, count: int) -> None:
    """Write runs: one, and copies of it under other ids."""
    log = mlog.getLogger("bench")
    params, tags = {"lr": 0.1, "size": 32}, {"owner": "me"}
    with mlog.start_run("bench", dir=root, params=params, tags=tags) as run:
        for step in range(20):
            log.info("epoch %d", step, metric={"loss": 1 / (step + 1)}, step=step)
    assert run.path is not None
    files = {file.name: file.read_bytes() for file in run.path.iterdir()}
    for i in range(count - 1):
        name = f"20260101-{i // 3600 % 24:02}{i // 60 % 60:02}{i % 60:02}-{i:06x}"
        folder = run.path.parent / name
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data.replace(run.id.encode(), name.encode()))


def listed(root: Path, *arguments: str) -> None:
    """Run `mlog ls` in this process."""
    done = CliRunner().invoke(ls, ["--dir", str(root), *arguments])
    assert done.exit_code == 0, done.output


def measure_runs(setting: Setting, table: Table) -> None:
    """The newest of many runs, all of them, and those that fit a filter."""
    count = setting.number(10_000, 150)
    root = setting.root / "runs"
    many_runs(root, count)
    fitting = ("--filter", "metric.loss < 3", "-n", "5")

    def without_index(*arguments: str) -> None:
        shutil.rmtree(root / ".cache", ignore_errors=True)
        listed(root, *arguments)

    found = timed(
        setting.repetitions,
        {
            "ls": lambda: listed(root),
            "filter, files": lambda: without_index(*fitting),
            "filter, index": lambda: listed(root, *fitting),
            "runs": lambda: mlog.runs(dir=root),
            "process": lambda: run_quietly(command("ls", "--dir", str(root))),
            "filter, process": lambda: run_quietly(
                command("ls", "--dir", str(root), *fitting)
            ),
        },
    )
    table.head(f"{count:,} runs")
    table.row("ls, the newest 50", found["ls"], aim=50)
    table.row("ls --filter, from run files", found["filter, files"])
    table.row("ls --filter, from the index", found["filter, index"])
    table.row("ls --filter, process", found["filter, process"])
    table.row("mlog.runs(), from the index", found["runs"])
    table.row("ls, process", found["process"])
    shutil.rmtree(root)
    few = setting.number(200, 20)
    many_runs(root, few)
    line = command("ls", "--dir", str(root))
    found = timed(setting.repetitions, {"process": lambda: run_quietly(line)})
    table.head(f"{few:,} runs")
    table.row("ls, process", found["process"], aim=150)
    shutil.rmtree(root)
