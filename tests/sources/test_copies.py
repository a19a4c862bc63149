"""Runs of another tool become runs of ours, once, with the times they had."""

import io
import math
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlog
from mlog.errors import MlogError
from mlog.reader.series import read_histories
from mlog.reader.state import read_state
from mlog.reader.verify import verify_run
from mlog.sources.copies import (
    File,
    Picture,
    Point,
    copy_run,
    id_from,
    value_from,
)
from tests.helpers import entries, lost, read_run
from tests.sources.conftest import BEGAN, Listed

Make: TypeAlias = Callable[..., Listed]


def points(*values: float, start: int = 0) -> list[Point]:
    """One point a second, of the metric `loss`."""
    return [
        Point(BEGAN + 1_000_000 * n, n, {"loss": value})
        for n, value in enumerate(values, start)
    ]


def opened(content: bytes) -> AbstractContextManager[BinaryIO]:
    return closing(io.BytesIO(content))


def file(name: str, content: bytes) -> File:
    return File(name, len(content), partial(opened, content))


def losses(folder: Path) -> list[tuple[int, float]]:
    history = read_histories(folder)["loss"]
    return [(step, value) for step, value, _ in history]


class TestANewRun:
    def test_facts(self, listed: Make, root: Path) -> None:
        run = listed(
            params={"lr": 0.1},
            tags={"team": "a"},
            properties={"import.user": "ada"},
            description="words",
            parent=("old runs", "p1"),
            children=[("old runs", "c1")],
            start={"git": {"commit": "abc"}},
        )
        copied = copy_run(run, root)
        state = read_state(copied.folder)
        assert copied.what == "imported"
        assert (state.run_id, state.experiment, state.name) == (
            "r1",
            "old runs",
            "first",
        )
        assert (state.params, state.tags) == ({"lr": 0.1}, {"team": "a"})
        assert state.properties == {"import.source": "test:1", "import.user": "ada"}
        assert (state.description, state.status) == ("words", "Completed")
        assert state.start["git"] == {"commit": "abc"}
        assert Path(str(state.parent)).parts[-1] == "p1"
        assert [Path(child).parts[-1] for child in state.children] == ["c1"]

    def test_times_are_those_of_the_source(self, listed: Make, root: Path) -> None:
        """Also those of the events, so that the run is as old as it was there."""
        copied = copy_run(listed(points(0.5, 0.25)), root)
        state = read_state(copied.folder)
        assert state.created == "2023-11-14T22:13:20.000000Z"
        assert state.ended == "2023-11-14T22:14:20.000000Z"
        assert state.duration == 60
        found = entries(copied.folder, "metrics")
        assert [(e["ts"], e["step"]) for e in found] == [
            ("2023-11-14T22:13:20.000000Z", 0),
            ("2023-11-14T22:13:21.000000Z", 1),
        ]

    def test_values_of_all_kinds(self, listed: Make, root: Path) -> None:
        histogram = {"type": "mlog.histogram", "edges": [0, 1], "counts": [3]}
        values = {"a": math.nan, "b": -math.inf, "n": 1 << 60, "t": "x", "h": histogram}
        copied = copy_run(listed([Point(BEGAN, None, values)]), root)
        (entry,) = entries(copied.folder, "metrics")
        assert entry["metric"] == {"a": "NaN", "b": "-Infinity", "n": 1 << 60}
        assert entry["value"] == {"t": "x", "h": histogram}
        assert copied.points == 5

    def test_pictures_become_artifacts(self, listed: Make, root: Path) -> None:
        picture = Picture("img_2.png", b"\x89PNG", "image/png")
        copied = copy_run(listed([Point(BEGAN, 2, {"img": picture})]), root)
        (entry,) = entries(copied.folder, "metrics")
        assert entry["value"]["img"]["path"] == "img_2.png"
        assert (copied.folder / "artifacts/img_2.png").read_bytes() == b"\x89PNG"

    def test_files(self, listed: Make, root: Path) -> None:
        copied = copy_run(listed(files=[file("a/b.txt", b"hello")]), root)
        (artifact,) = read_state(copied.folder).artifacts.values()
        assert (artifact.path, artifact.size) == ("a/b.txt", 5)
        assert (copied.folder / "artifacts/a/b.txt").read_bytes() == b"hello"

    @pytest.mark.parametrize("name", ["../out", "/etc/x", "a/../../b"])
    def test_a_file_cannot_leave_the_run(
        self, listed: Make, root: Path, name: str
    ) -> None:
        copied = copy_run(listed(files=[file(name, b"x"), file("ok", b"y")]), root)
        assert [path.name for path in copied.folder.rglob("*") if path.name == "ok"]
        assert list(read_state(copied.folder).artifacts) == ["ok"]
        assert name in copied.notes[0]

    def test_secrets_are_taken_out(self, listed: Make, root: Path) -> None:
        copied = copy_run(listed(params={"api_key": "k-1234", "lr": 1}), root)
        assert read_state(copied.folder).params == {"api_key": "***", "lr": 1}

    def test_it_is_whole_and_private(self, listed: Make, root: Path) -> None:
        copied = copy_run(listed(points(1, 2, 3), [file("f", b"x")]), root)
        assert lost(copied.folder) == {}
        assert verify_run(copied.folder, deep=True, now=time.time()).is_whole
        for path in root.rglob("*"):
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path

    def test_a_source_that_goes_on_has_no_end(self, listed: Make, root: Path) -> None:
        copied = copy_run(listed(points(1), status=None, ended=None), root)
        state = read_state(copied.folder)
        assert (state.status, state.ended) == ("NotResponding", None)
        assert state.metrics["loss"]["last"] == 1

    def test_python_reads_it(self, listed: Make, root: Path) -> None:
        copy_run(listed(points(0.5)), root)
        run = mlog.open_run("first", dir=root)
        assert run.get_metrics() == {"loss": 0.5}

    def test_impossible_times_are_kept_within_what_can_be_written(
        self, listed: Make, root: Path
    ) -> None:
        times = [-5, 1 << 62]
        run = listed([Point(t, n, {"a": 1}) for n, t in enumerate(times)], began=-1)
        copied = copy_run(run, root)
        found = [entry["ts"][:4] for entry in entries(copied.folder, "metrics")]
        assert found == ["1970", "9999"]


class TestAgain:
    def test_nothing_is_written_where_nothing_is_new(
        self, listed: Make, root: Path
    ) -> None:
        first = copy_run(listed(points(1)), root)
        before = {p: p.read_bytes() for p in first.folder.iterdir()}
        again = copy_run(listed(points(1)), root)
        assert (again.what, again.points) == ("unchanged", 0)
        assert {p: p.read_bytes() for p in first.folder.iterdir()} == before

    def test_what_has_come_since_is_added(self, listed: Make, root: Path) -> None:
        copy_run(listed(points(4, 3), status=None, ended=None), root)
        more = listed(
            points(4, 3, 2),
            [file("f", b"x")],
            state="2",
            params={"lr": 1},
            tags={"team": "a"},
        )
        again = copy_run(more, root)
        state = read_state(again.folder)
        assert (again.what, again.points, again.files) == ("continued", 1, 1)
        assert losses(again.folder) == [(0, 4), (1, 3), (2, 2)]
        assert (state.status, state.ended) == (
            "Completed",
            "2023-11-14T22:14:20.000000Z",
        )
        assert (state.params, state.tags) == ({"lr": 1}, {"team": "a"})
        summary = {"last": 2, "min": 2, "max": 4, "count": 3}
        assert state.metrics["loss"] == summary
        assert copy_run(more, root).what == "unchanged"
        assert verify_run(again.folder, now=time.time()).is_whole

    def test_points_in_between_are_added_once(self, listed: Make, root: Path) -> None:
        """A late point with an early step does not hide those behind it."""
        copy_run(listed([*points(4), *points(2, start=2)]), root)
        again = copy_run(listed(points(4, 3, 2), state="2"), root)
        assert again.points == 1
        assert sorted(losses(again.folder)) == [(0, 4), (1, 3), (2, 2)]

    def test_equal_points_are_counted(self, listed: Make, root: Path) -> None:
        copy_run(listed(points(1) * 2), root)
        again = copy_run(listed(points(1) * 3, state="2"), root)
        assert (again.points, len(losses(again.folder))) == (1, 3)

    def test_points_without_times_are_known_by_step_and_value(
        self, listed: Make, root: Path
    ) -> None:
        def untimed(*values: float) -> list[Point]:
            return [Point(None, n, {"loss": v}) for n, v in enumerate(values)]

        copy_run(listed(untimed(3, 2)), root)
        again = copy_run(listed(untimed(3, 2, 1), state="2", began=BEGAN + 99), root)
        assert (again.points, len(losses(again.folder))) == (1, 3)

    def test_what_people_have_changed_stays(self, listed: Make, root: Path) -> None:
        copied = copy_run(listed(tags={"stage": "draft"}), root)
        run = mlog.open_run(copied.folder)
        run.tag("stage", "final")
        run.display_name = "best"
        from mlog.run.joining import end_visits

        end_visits(copied.folder)
        copy_run(listed(points(1), tags={"stage": "draft"}, state="2"), root)
        state = read_state(copied.folder)
        assert (state.tags, state.name) == ({"stage": "final"}, "best")

    def test_a_copy_that_broke_off_is_gone_on_with(
        self, listed: Make, root: Path
    ) -> None:
        class Breaks(Listed):
            def points(self, advance: Any) -> Iterator[Point]:
                yield from self.given[:2]
                raise MlogError("the line is dead")

        run = listed(points(5, 4, 3, 2))
        with pytest.raises(MlogError, match="dead"):
            copy_run(Breaks(run.origin, run.given, []), root)
        again = copy_run(run, root)
        assert (again.what, again.points) == ("continued", 2)
        assert losses(again.folder) == [(0, 5), (1, 4), (2, 3), (3, 2)]
        assert lost(again.folder) == {}

    def test_two_imports_at_once(self, listed: Make, root: Path) -> None:
        """The second says that the first is at work; nothing is written twice."""
        run = listed(points(1, 2))
        found: list[str] = []

        class Nested(Listed):
            def points(self, advance: Any) -> Iterator[Point]:
                with pytest.raises(MlogError, match="another process") as error:
                    copy_run(run, root)
                found.append(str(error.value))
                yield from self.given

        copied = copy_run(Nested(run.origin, run.given, []), root)
        assert found
        assert len(read_run(copied.folder)) == 1

    def test_a_run_of_ours_is_never_touched(self, listed: Make, root: Path) -> None:
        with mlog.start_run("old runs", run_id="r1", dir=root) as own:
            own.log("loss", 7)
        with pytest.raises(MlogError, match="not imported from test:1"):
            copy_run(listed(points(1)), root)
        assert own.get_metrics() == {"loss": 7}

    def test_another_source_with_the_same_id(self, listed: Make, root: Path) -> None:
        copy_run(listed(), root)
        with pytest.raises(MlogError, match="not imported from test:2"):
            copy_run(listed(source="test:2"), root)

    @settings(
        max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from([0.5, 1, math.nan, math.inf, "text"]),
            ),
            max_size=12,
        ),
        st.lists(st.integers(0, 12), max_size=3),
    )
    def test_any_growth_ends_in_the_same_run(
        self,
        listed: Make,
        tmp_path_factory: pytest.TempPathFactory,
        given_points: list[tuple[int, Any]],
        cuts: list[int],
    ) -> None:
        """Imports of longer and longer sources hold what one import of the last does."""
        root = tmp_path_factory.mktemp("root")
        all_points = [
            Point(BEGAN + n, step, {"loss": value})
            for n, (step, value) in enumerate(given_points)
        ]
        for n, cut in enumerate([*sorted(cuts), len(all_points)]):
            copied = copy_run(listed(all_points[:cut], state=str(n)), root)
        found = [
            (entry["ts"], entry.get("step"), entry.get("metric"), entry.get("value"))
            for entry in entries(copied.folder, "metrics")
        ]
        whole = copy_run(listed(all_points), root / "other")
        expected = [
            (entry["ts"], entry.get("step"), entry.get("metric"), entry.get("value"))
            for entry in entries(whole.folder, "metrics")
        ]
        assert sorted(found, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("007", "007"),
        ("1e5", "1e5"),
        ("nan", "nan"),
        ("x", "x"),
    ],
)
def test_params_are_numbers_only_where_nothing_is_lost(
    text: str, value: object
) -> None:
    assert value_from(text) == value


def test_ids_made_here_sort_by_time_and_are_always_the_same() -> None:
    assert id_from(BEGAN, "a") == id_from(BEGAN, "a") != id_from(BEGAN, "b")
    assert id_from(BEGAN, "a").startswith("20231114-221320-")


def test_a_full_disk_is_an_error_and_what_is_there_stays(
    listed: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlog import segments

    real, written = segments._write, 0

    def full(fd: int, line: bytes) -> int:
        nonlocal written
        written += 1
        if written > 12:
            raise OSError(28, "No space left on device")
        return real(fd, line)

    monkeypatch.setattr(segments, "_write", full)
    with (
        pytest.warns(mlog.MlogWarning, match="No space"),
        pytest.raises(OSError, match="is the disk full"),
    ):
        copy_run(listed(points(*range(20))), root)
    monkeypatch.undo()
    again = copy_run(listed(points(*range(20))), root)
    assert len(losses(again.folder)) == 20
