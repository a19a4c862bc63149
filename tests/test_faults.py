"""Disks that fill up, vanish or turn read-only while a run is open."""

import contextlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlog
from mlog.entry import event_fields
from mlog.folder import PRIVATE, Folder
from mlog.run.levels import LevelRule
from mlog.run.recorder import Recorder
from mlog.run.writer import Place, Writer, WriterOptions
from tests.helpers import Entry, entries, gaps, lost, run_python


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MiB; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"no disk may be mounted here: {exc}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill a disk but for some bytes; return the file to remove."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        free = shutil.disk_usage(disk).free
        file.write(b"x" * (free - leave))
    return filler


def open_writer(root: Path, **options: object) -> Writer:
    """Return a writer whose regular work is done by calling `keep`."""
    folder = Folder.open_below(root, ["e", "r"], PRIVATE)
    place = Place(main=True, attempt=1)
    chosen = WriterOptions(**options)  # type: ignore[arg-type]
    return Writer(folder, place, "r", chosen, None, lambda: None)


def metric(value: int) -> Entry:
    """Return a metric entry without its number."""
    return {**event_fields("", {}), "metric": {"loss": value}}


def events(folder: Path, name: str) -> list[Entry]:
    """Return the data of all events of a name."""
    found = entries(folder, "events")
    return [e["data"] for e in found if e.get("event") == name]


class TestFullDisk:
    """A disk that really is full: calls return, the loss is told, recording resumes."""

    def test_run_goes_on_when_there_is_space_again(
        self, disk: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with mlog.start_run("e", dir=disk, run_id="r"):
            logger = mlog.getLogger("work")
            for value in range(100):
                logger.info(metric={"loss": value}, step=value)
            filler = fill(disk)
            for value in range(100, 300):
                logger.info(metric={"loss": value}, step=value)
            filler.unlink()
            for value in range(300, 400):
                logger.info(metric={"loss": value}, step=value)
        folder = disk / "e" / "r"
        assert capsys.readouterr().err.count("No space left on device") == 1
        kept = [e["metric"]["loss"] for e in entries(folder, "metrics")]
        assert kept[:100] == list(range(100))
        assert kept[-100:] == list(range(300, 400))
        assert 200 < len(kept) < 400
        named = [e for e in events(folder, "run.dropped") if "No space" in e["reason"]]
        assert sum(data["count"] for data in named) >= 400 - len(kept)
        assert lost(folder) == {}
        (end,) = events(folder, "run.end")
        assert end["metrics"]["loss"]["count"] == len(kept)

    def test_run_that_cannot_write_its_end_is_told_at_once(self, disk: Path) -> None:
        """As one that was killed: nobody writes it any more, and it has no end."""
        run = mlog.start_run("e", dir=disk, run_id="r")
        run.log("loss", 1)
        fill(disk, leave=0)
        with pytest.warns(mlog.MlogWarning, match="No space left on device"):
            run.complete()
        assert mlog.open_run(run.path or "").status == "NotResponding"

    def test_page_that_is_only_begun_seals_the_segment(self, disk: Path) -> None:
        """The cut line stays; the whole entry is named, or is in the next segment."""
        writer = open_writer(disk)
        writer.start()
        writer.write("metrics", metric(0))
        filler = fill(disk)
        for value in range(1, 100):
            writer.write("metrics", metric(value))
        torn = (writer.folder.path / "metrics.jsonl").read_bytes()
        assert not torn.endswith(b"\n")
        filler.unlink()
        writer.write("metrics", metric(100))
        writer.end("Completed")
        found = entries(writer.folder.path, "metrics")
        assert found[-1]["metric"] == {"loss": 100}
        assert (writer.folder.path / "metrics.1.jsonl").exists()
        assert (writer.folder.path / "metrics.jsonl").read_bytes() == torn
        assert gaps(writer.folder.path)[""]
        assert lost(writer.folder.path) == {}

    def test_little_space_is_left_to_what_matters_most(self, disk: Path) -> None:
        """Below 2 % free: metrics, events and WARNING go on, other lines are counted."""
        writer = open_writer(disk)
        recorder = Recorder(writer, LevelRule("auto"))

        def log(level: int, text: str) -> None:
            recorder.receive(
                logging.LogRecord("x", level, __file__, 1, text, (), None), True
            )

        log(logging.INFO, "before")
        filler = fill(disk, leave=12 << 10)
        writer.keep(1_000.0)
        assert writer.scarce
        log(logging.INFO, "meanwhile")
        log(logging.WARNING, "warning")
        writer.write("metrics", metric(1))
        writer.event("run.tags", {"a": "b"})
        filler.unlink()
        writer.keep(1_004.0)
        assert writer.scarce
        writer.keep(1_005.0)
        assert not writer.scarce
        log(logging.INFO, "after")
        writer.end("Completed")
        folder = writer.folder.path
        assert [e["msg"] for e in entries(folder, "logs")] == [
            "before",
            "warning",
            "after",
        ]
        assert [e["metric"]["loss"] for e in entries(folder, "metrics")] == [1]
        assert events(folder, "run.tags") == [{"a": "b"}]
        assert events(folder, "run.dropped") == [
            {"count": 1, "reason": "little disk space is left"}
        ]
        assert gaps(folder) == {}

    def test_run_on_a_full_disk_goes_elsewhere(
        self, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A root that cannot take a run costs one warning and not the run."""
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.warns(mlog.MlogWarning, match="cannot be written to"):
            run = mlog.start_run("e", dir=disk, run_id="r")
        run.log("loss", 1)
        run.complete()
        assert run.path is not None
        assert entries(run.path, "metrics")
        assert not run.path.is_relative_to(disk)

    def test_disk_that_is_taken_away_is_no_error(self, disk: Path) -> None:
        with mlog.start_run("e", dir=disk, run_id="r") as run:
            run.log("loss", 1)
            subprocess.run(["umount", "--lazy", disk], check=True)
            run.log("loss", 2)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
        assert run.status == "Completed"


def test_limited_file_size_costs_no_entry(tmp_path: Path) -> None:
    """`ulimit -f` cuts a write short: the line is written whole in the next segment."""
    code = """
import resource, sys
import mlog
with mlog.start_run("e", dir=sys.argv[1], run_id="r") as run:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_001, 4_001))
    logger = mlog.getLogger("work")
    for value in range(300):
        logger.info(metric={"loss": value})
        logger.info("line %d", value)
"""
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "e" / "r"
    assert [e["metric"]["loss"] for e in entries(folder, "metrics")] == list(range(300))
    assert len(entries(folder, "logs")) == 300
    assert len(list(folder.glob("metrics.*.jsonl"))) > 5
    assert gaps(folder) == {}
    (end,) = events(folder, "run.end")
    assert end["metrics"]["loss"] == {"last": 299, "count": 300, "min": 0, "max": 299}


class TestVanishedFiles:
    """A running run whose files somebody removes goes on in new ones."""

    @pytest.fixture
    def writer(self, tmp_path: Path) -> Writer:
        writer = open_writer(tmp_path)
        writer.write("metrics", metric(0))
        writer.write("logs", {**event_fields("", {}), "msg": "x"})
        return writer

    @pytest.mark.parametrize("what", ["folder", "experiment", "files", "metrics"])
    def test_run_goes_on(
        self, writer: Writer, what: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = writer.folder.path
        if what == "folder":
            shutil.rmtree(folder)
        elif what == "experiment":
            shutil.rmtree(folder.parent)
        elif what == "files":
            for path in folder.iterdir():
                path.unlink()
        else:
            (folder / "metrics.jsonl").unlink()
        writer.write("metrics", metric(1))
        writer.keep(1.0)
        writer.write("metrics", metric(2))
        writer.keep(2.0)
        writer.end("Completed")
        assert [e["metric"]["loss"] for e in entries(folder, "metrics")] == [2]
        assert len(events(folder, "writer.start")) >= 1
        assert lost(folder) == {}
        assert set(gaps(folder)[""].values()) == {"dropped: files were removed"}
        assert capsys.readouterr().err.count("were removed; going on") == 1

    def test_lock_is_held_again(self, writer: Writer) -> None:
        """A run that lost its lock file would read as dead."""
        folder = writer.folder.path
        shutil.rmtree(folder)
        writer.keep(1.0)
        assert (folder / ".lock").exists()

    def test_folder_that_cannot_be_made_again_is_tried_again(
        self, writer: Writer
    ) -> None:
        """The other regular work goes on meanwhile."""
        folder = writer.folder.path
        shutil.rmtree(folder.parent)
        folder.parent.touch()
        for now in (1.0, 2.0):
            with pytest.raises(OSError, match=r"."):
                writer.keep(now)
        folder.parent.unlink()
        writer.keep(3.0)
        writer.write("metrics", metric(1))
        writer.end("Completed")
        assert [e["metric"]["loss"] for e in entries(folder, "metrics")] == [1]
        assert lost(folder) == {}

    def test_end_without_a_folder_is_no_error(self, tmp_path: Path) -> None:
        with mlog.start_run("e", dir=tmp_path, run_id="r") as run:
            run.log("loss", 1)
            shutil.rmtree(tmp_path / "e")
        assert run.status == "Completed"

    def test_folder_that_takes_no_new_files_keeps_its_open_ones(
        self, tmp_path: Path
    ) -> None:
        """What needs a new file is named, and written again when it may be made."""
        writer = open_writer(tmp_path, segment_bytes=1)
        writer.write("metrics", metric(0))
        folder = writer.folder.path
        with without_rights(folder):
            writer.write("metrics", metric(1))
            for _ in range(3):
                writer.write("logs", {**event_fields("", {}), "msg": "lost"})
            writer.keep(1.0)
        writer.write("logs", {**event_fields("", {}), "msg": "kept"})
        writer.end("Completed")
        assert [e["metric"]["loss"] for e in entries(folder, "metrics")] == [0, 1]
        assert [e["msg"] for e in entries(folder, "logs")] == ["kept"]
        assert set(gaps(folder)[""].values()) == {"dropped: Permission denied"}
        assert lost(folder) == {}


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Make a folder read-only, and this process one that obeys that."""
    is_root = os.geteuid() == 0
    folder.chmod(0o555)
    if is_root:
        os.seteuid(54_001)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
