"""`mlog verify` says whether all that was logged is there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

import mlog
from mlog.cli.verify import command
from mlog.errors import RunNotFoundError

Verify: TypeAlias = Callable[..., Result]

ONE, TWO = "20261123-182700-aaaaaa", "20261123-182800-bbbbbb"


@pytest.fixture
def verify() -> Verify:
    """Call the command in this process."""
    return lambda *args: CliRunner().invoke(command, args, prog_name="mlog verify")


def add(folder: Path, name: str, *entries: dict[str, Any]) -> None:
    with (folder / name).open("a") as file:
        file.writelines(f"{json.dumps(entry)}\n" for entry in entries)


def entry(seq: int, **fields: Any) -> dict[str, Any]:
    return {"ts": "2026-11-23T18:27:00.000000Z", "seq": seq} | fields


def event(seq: int, name: str, **data: Any) -> dict[str, Any]:
    return entry(seq, event=name, data=data)


def ended(root: Path, run_id: str, last: int = 3, **start: Any) -> Path:
    """Make a run that is whole."""
    folder = root / "mnist" / run_id
    folder.mkdir(parents=True)
    add(folder, "events.jsonl", event(0, "writer.start", **start))
    add(folder, "logs.jsonl", *(entry(seq, msg="m") for seq in range(1, last)))
    add(folder, "events.jsonl", event(last, "writer.end", last=last))
    return folder


def without(file: Path, *numbers: int) -> None:
    """Take some lines out of a file."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(x for n, x in enumerate(lines) if n not in numbers))


class TestShown:
    """What people see."""

    def test_a_whole_run(self, verify: Verify, run_dir: Path) -> None:
        ended(run_dir, ONE)
        result = verify()
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: complete",
            "  main  complete, 4 entries",
        ]

    def test_what_is_lost(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE, last=1_000)
        without(folder / "logs.jsonl", 3, 7, 8, 9)
        result = verify("latest")
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: 4 entries lost",
            "  main  lost 4 of 1,001 entries: 4, 8-10",
        ]

    def test_many_ranges_are_cut(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE, last=100)
        without(folder / "logs.jsonl", *range(0, 90, 2))
        shown = verify().stdout
        assert shown.endswith(
            ": 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 33 more ranges\n"
        )

    def test_damage_has_a_place(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE)
        with (folder / "logs.jsonl").open("a") as file:
            file.write("rubbish\n{half")
        result = verify()
        assert result.exit_code == 1
        size = 2 * len(json.dumps(entry(1, msg="m")) + "\n")
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: 1 damaged line",
            "  main  complete, 4 entries",
            f"        logs.jsonl, line 3 at byte {size}: damaged, 7 B",
            f"        logs.jsonl, line 4 at byte {size + 8}: unfinished, 5 B",
        ]

    def test_a_run_without_an_end(self, verify: Verify, run_dir: Path) -> None:
        """Nothing is known to be lost."""
        folder = run_dir / "mnist" / ONE
        folder.mkdir(parents=True)
        add(folder, "events.jsonl", event(0, "writer.start"), entry(3))
        result = verify()
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: tail unproved",
            "  main  tail unproved (no end), 2 entries",
            "        2 in flight, not lost: 1-2",
        ]

    def test_a_live_run(self, verify: Verify, run_dir: Path) -> None:
        with mlog.start_run("live") as run:
            run.log("loss", 1)
            result = verify()
        assert result.exit_code == 0
        assert "tail unproved (it still runs)" in result.stdout

    def test_drops_have_their_reason(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE)
        without(folder / "logs.jsonl", 0, 1)
        drop = {"reason": "No space\x1b left", "first": 1, "last": 2}
        add(folder, "events.jsonl", event(4, "run.dropped", **drop))
        result = verify()
        assert result.exit_code == 0
        assert result.stdout.splitlines()[1:] == [
            "  main  complete, 3 entries",
            r"        2 dropped (No space\x1b left): 1-2",
        ]

    def test_missing_ranks(self, verify: Verify, run_dir: Path) -> None:
        ended(run_dir, ONE, rank=0, world_size=8)
        result = verify()
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: 7 missing ranks",
            "  main  complete, 4 entries",
            "  missing ranks of attempt 1: 1-7 of 8",
        ]

    def test_many_whole_writers_are_one_line(
        self, verify: Verify, run_dir: Path
    ) -> None:
        folder = ended(run_dir, ONE, rank=0, world_size=64)
        for rank in range(1, 64):
            add(folder, f"events-r{rank}.jsonl", event(0, "writer.start", rank=rank))
            if rank != 5:
                end = event(1, "writer.end", last=1)
                add(folder, f"events-r{rank}.jsonl", end)
        assert verify().stdout.splitlines() == [
            f"mnist/{ONE}: tail unproved",
            "  r5    tail unproved (no end), 1 entry",
            "  63 more writers: complete, 128 entries",
        ]

    def test_artifacts(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE)
        (folder / "artifacts").mkdir()
        (folder / "artifacts" / "a").write_bytes(b"12")
        (folder / "artifacts" / "b").write_bytes(b"12")
        add(
            folder,
            "events.jsonl",
            event(4, "run.artifact", path="a", size=3),
            event(5, "run.artifact", path="b", size=2, sha256="0"),
            event(6, "run.artifact", path="c\n", size=2),
        )
        result = verify()
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            f"mnist/{ONE}: 2 artifacts differ",
            "  main  complete, 7 entries",
            "  artifact a has 2 bytes, recorded were 3",
            r"  artifact c\n is not there",
        ]
        assert "  artifact b has another content" in verify("--deep").stdout

    def test_no_segments(self, verify: Verify, run_dir: Path) -> None:
        folder = run_dir / "mnist" / ONE
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        result = verify()
        assert result.exit_code == 1
        assert result.stdout == f"mnist/{ONE}: no entries: it has no segments\n"


class TestWhich:
    """Some runs by name, or all."""

    def test_several(self, verify: Verify, run_dir: Path) -> None:
        ended(run_dir, ONE)
        ended(run_dir, TWO)
        heads = [x for x in verify("-2", TWO, "latest").stdout.splitlines() if ":" in x]
        assert heads == [f"mnist/{ONE}: complete", f"mnist/{TWO}: complete"]

    def test_all_shows_those_that_are_not_complete(
        self, verify: Verify, run_dir: Path
    ) -> None:
        ended(run_dir, ONE)
        lossy = ended(run_dir, TWO)
        without(lossy / "logs.jsonl", 0)
        open_ = run_dir / "mnist" / "z"
        open_.mkdir()
        add(open_, "events.jsonl", event(0, "writer.start"))
        result = verify("--all")
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            f"mnist/{TWO}: 1 entry lost",
            "  main  lost 1 of 4 entries: 1",
            "mnist/z: tail unproved",
            "3 runs: 1 complete, 1 tail unproved, 1 with losses or damage",
        ]

    def test_all_and_a_run_is_a_wrong_call(self, verify: Verify) -> None:
        assert verify("--all", "latest").exit_code == 2

    @pytest.mark.parametrize("args", [(), ("--all",), ("baseline",)])
    def test_without_runs(self, verify: Verify, args: tuple[str, ...]) -> None:
        """The message says what to type next."""
        result = verify(*args)
        assert isinstance(result.exception, RunNotFoundError)
        assert "no runs yet" in str(result.exception)

    def test_help_has_examples(self, verify: Verify) -> None:
        assert "mlog verify --all" in verify("--help").stdout


class TestJson:
    """One object a run, for programs."""

    def test_fields(self, verify: Verify, run_dir: Path) -> None:
        folder = ended(run_dir, ONE, rank=0, world_size=2)
        without(folder / "logs.jsonl", 0)
        result = verify("--json")
        found = json.loads(result.stdout)
        assert result.exit_code == 1
        (writer,) = found.pop("writers")
        assert found == {
            "run": ONE,
            "experiment": "mnist",
            "path": str(folder),
            "whole": False,
            "summary": "1 entry lost, 1 missing rank",
            "missing_ranks": [
                {
                    "attempt": 1,
                    "world_size": 2,
                    "ranks": {"count": 1, "ranges": [[1, 1]], "more": 0},
                }
            ],
            "artifacts": {"count": 0, "checksums": False, "problems": []},
        }
        assert (writer["writer"], writer["verdict"]) == ("", "lost")
        assert writer["lost"] == {"count": 1, "ranges": [[1, 1]], "more": 0}

    def test_a_line_for_each_run(self, verify: Verify, run_dir: Path) -> None:
        ended(run_dir, ONE)
        ended(run_dir, TWO)
        result = verify("--all", "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["run"] for line in lines] == [ONE, TWO]
        assert result.exit_code == 0
