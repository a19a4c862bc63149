"""Histories: every point of a metric, exact and in order."""

import json
import math
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.errors import RunNotFoundError
from mlog.reader import series
from mlog.reader.series import History, read_histories, read_history, read_values
from tests.helpers import REPO

np = pytest.importorskip("numpy", reason="arrays are NumPy's where it is installed")

CUT = b'{"ts":"2026-11-23T18:27:00.000001Z","seq":7,"metric":{"a":1,"b'
BEGIN = 1795458420.0  # 2026-11-23T18:27:00Z


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "run"
    folder.mkdir(parents=True)
    return folder


def line(
    seq: int, metric: Any = None, step: Any = None, ts: int | None = None, **fields: Any
) -> bytes:
    """Return a line; `ts` are microseconds, and those of `seq` where not given."""
    stamp = f"2026-11-23T18:27:00.{seq if ts is None else ts:06d}Z"
    entry = {"ts": stamp, "seq": seq, "step": step, "metric": metric, **fields}
    found = {key: value for key, value in entry.items() if value is not None}
    return json.dumps(found).encode() + b"\n"


def add(run: Path, name: str, *lines: bytes) -> None:
    with (run / name).open("ab") as file:
        file.write(b"".join(lines))


def points(history: History) -> list[tuple[int, Any]]:
    return [(step, value) for step, value, _ in history]


def values(run: Path, name: str = "a", **options: Any) -> list[Any]:
    """Return a metric's values, read in both ways."""
    bare = read_values(run, name, **options)
    full = [value for _, value, _ in read_history(run, name, **options)]
    assert (bare[name].values if name in bare else []) == full
    return full


class TestColumns:
    """Steps, values and times are arrays of numbers."""

    def test_a_history_has_what_was_logged(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(5, {"a": 0.5}, 10), line(6, {"a": 0.25}, 20))
        history = read_history(run, "a")
        assert history.name == "a"
        assert history.steps.tolist() == [10, 20]
        assert history.values.tolist() == [0.5, 0.25]
        assert history.times.tolist() == [BEGIN + 5e-6, BEGIN + 6e-6]
        dtypes = (history.steps.dtype, history.values.dtype, history.times.dtype)
        assert dtypes == (np.int64, np.float64, np.float64)
        assert (len(history), history.has_steps, history.ranks) == (2, True, None)
        assert repr(history) == "<History of 'a': 2 points>"

    def test_iteration_gives_plain_objects(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 1.5}, 3))
        ((step, value, time),) = read_history(run, "a")
        assert [type(x) for x in (step, value, time)] == [int, float, float]

    def test_points_without_a_step_have_their_index(self, run: Path) -> None:
        add(run, "metrics.jsonl", *(line(i, {"a": i, "b": i}) for i in range(3)))
        add(run, "metrics.jsonl", line(3, {"b": 3}, 70), line(4, {"b": 4}))
        assert points(read_history(run, "a")) == [(0, 0.0), (1, 1.0), (2, 2.0)]
        assert not read_history(run, "a").has_steps
        assert read_history(run, "b").steps.tolist() == [0, 1, 2, 70, 4]
        assert read_history(run, "b").has_steps

    @pytest.mark.parametrize(
        ("logged", "dtype"),
        [
            ([0.5, -0.0, 5e-324, 1.7976931348623157e308], np.float64),
            ([1, 2, 2**53], np.float64),
            ([1, 0.5, -(2**53)], np.float64),
            ([1, 2**53 + 1], np.int64),
            ([-(2**63), 2**63 - 1], np.int64),
            ([1, 2**63], object),
            ([0.5, 2**53 + 1], object),
        ],
    )
    def test_every_number_is_exact(
        self, run: Path, logged: list[Any], dtype: Any
    ) -> None:
        """An array is float64 only where a double can hold all of them."""
        add(run, "metrics.jsonl", *(line(i, {"a": v}) for i, v in enumerate(logged)))
        history = read_history(run, "a")
        assert history.values.dtype == dtype
        found = history.values.tolist()
        assert found == logged
        assert [math.copysign(1, v) for v in found] == [
            math.copysign(1, v) for v in logged
        ]

    def test_nan_and_infinities_are_floats(self, run: Path) -> None:
        words = ["NaN", "Infinity", "-Infinity"]
        add(run, "metrics.jsonl", *(line(i, {"a": w}) for i, w in enumerate(words)))
        history = read_history(run, "a")
        assert history.values.dtype == np.float64
        assert math.isnan(history.values[0])
        assert history.values[1:].tolist() == [math.inf, -math.inf]

    def test_texts_and_typed_values_are_objects(self, run: Path) -> None:
        """A list of a history of lists is one point."""
        listed = {"type": "mlog.list", "values": [1, "NaN"]}
        histogram = {"type": "mlog.histogram", "edges": [0, 1], "counts": [7]}
        image = {"type": "mlog.artifact", "path": "x.png", "media_type": "image/png"}
        odd = {"type": "mlog.later", "what": 1}
        logged = ["warmup", listed, histogram, image, odd]
        lines = [line(i, value={"a": v}) for i, v in enumerate(logged)]
        add(run, "metrics.jsonl", *lines, line(5, {"a": 2}))
        history = read_history(run, "a")
        text, found_list, *rest = history.values.tolist()
        assert text == "warmup"
        assert repr(found_list) == "[1, nan]"
        assert rest == [{"edges": [0, 1], "counts": [7]}, "x.png", odd, 2]
        assert history.values.dtype == object

    def test_an_unknown_name_has_no_points(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 1}))
        history = read_history(run, "b")
        assert (len(history), list(history), history.has_steps) == (0, [], False)
        assert history.values.dtype == np.float64

    def test_without_numpy_the_columns_are_lists(
        self, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "numpy", None)
        add(run, "metrics.jsonl", line(0, {"a": 2**60}, 3), line(1, {"a": 0.5}))
        history = read_history(run, "a", rank="all")
        assert (history.steps, history.values) == ([3, 1], [2**60, 0.5])
        assert history.ranks == [-1, -1]
        assert points(history) == [(3, 2**60), (1, 0.5)]

    def test_several_names_are_read_in_one_pass(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 1, "b": 2}), line(1, {"c": 3}))
        assert list(read_histories(run)) == ["a", "b", "c"]
        assert list(read_histories(run, ["c", "a", "z"])) == ["a", "c"]
        assert list(read_histories(run, "b")) == ["b"]
        assert read_histories(run, []) == {}


class TestFrames:
    """Histories become data frames of the two libraries."""

    def test_pandas(self, run: Path) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        add(run, "metrics.jsonl", line(1, {"a": 0.5}, 7), line(2, {"a": "NaN"}, 8))
        frame = read_history(run, "a").to_pandas()
        assert list(frame.columns) == ["step", "value", "time"]
        assert frame["step"].tolist() == [7, 8]
        moment = pandas.Timestamp("2026-11-23T18:27:00.000001Z")
        assert frame["time"][0] == moment
        ranked = read_history(run, "a", rank="all").to_pandas()
        assert ranked["rank"].tolist() == [-1, -1]

    @pytest.mark.parametrize(
        "logged",
        [[0.5, 1], [2**60], [0.5, 2**60], [2**64 - 1], ["up", "down"], ["up", 1], []],
    )
    def test_polars(self, run: Path, logged: list[Any]) -> None:
        """Whatever the values are, they are exact."""
        polars = pytest.importorskip("polars", reason="polars is not installed")
        for i, value in enumerate(logged):
            kind = "value" if isinstance(value, str) else "metric"
            fields: dict[str, Any] = {kind: {"a": value}}
            add(run, "metrics.jsonl", line(i, **fields))
        history = read_history(run, "a", rank="all")
        frame = history.to_polars()
        assert frame.columns == ["step", "value", "time", "rank"]
        assert frame["value"].to_list() == logged
        assert frame["time"].dtype == polars.Datetime("us", "UTC")
        assert [t.timestamp() for t in frame["time"]] == history.times.tolist()

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_without_the_library_the_error_says_what_to_do(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, library: str
    ) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        convert = getattr(read_history(run, "a"), f"to_{library}")
        with pytest.raises(ImportError, match=f"pip install {library}"):
            convert()


class TestOrder:
    """Inside a writer by `seq`, between writers by the greatest time so far."""

    @pytest.mark.parametrize("count", [10, 5_000])
    def test_values_of_a_writer_are_in_order_of_seq(
        self, run: Path, count: int
    ) -> None:
        """However far threads have carried entries away from their place."""
        order = list(range(count))
        random.Random(7).shuffle(order)
        add(run, "metrics.jsonl", *(line(i, {"a": i, "b": -i}, i) for i in order))
        assert values(run) == list(range(count))
        assert read_history(run, "b").steps.tolist() == list(range(count))

    def test_a_name_in_entries_of_several_kinds(self, run: Path) -> None:
        add(
            run,
            "metrics.jsonl",
            line(0, {"a": 0, "b": 0}),
            line(1, {"a": 1}),
            line(2, {"b": 1, "a": 2}),
            line(3, {"c": 1}, value={"a": "three"}),
            line(4, {"a": 4}),
        )
        assert values(run) == [0, 1, 2, "three", 4]

    @given(
        st.lists(st.sampled_from(["a", "ab", "ba", "abc", "", "c"]), max_size=12),
        st.integers(1, 400),
    )
    def test_any_pattern_of_names_is_taken_apart(
        self, tmp_path_factory: pytest.TempPathFactory, pattern: list[str], times: int
    ) -> None:
        """Names that come in turns are cut out of a block at once, others one by one."""
        run = tmp_path_factory.mktemp("run")
        model: dict[str, list[int]] = {}
        lines = []
        for seq, names in enumerate(pattern * times):
            lines.append(line(seq, {name: seq for name in names}))
            for name in names:
                model.setdefault(name, []).append(seq)
        add(run, "metrics.jsonl", *lines)
        assert {n: v.values for n, v in read_values(run).items()} == model
        full = {n: h.values.tolist() for n, h in read_histories(run).items()}
        assert full == model

    def test_segments_follow_by_number(self, run: Path) -> None:
        for seq, name in enumerate(["metrics", "metrics.1", "metrics.10"]):
            add(run, f"{name}.jsonl", line(seq, {"a": seq}))
        assert values(run) == [0, 1, 2]

    def test_writers_are_merged_by_the_greatest_time_so_far(self, run: Path) -> None:
        """A clock set back does not move a point behind its own process's next."""
        add(run, "metrics.jsonl", line(0, {"a": 0}, ts=50))
        add(run, "metrics.jsonl", line(1, {"a": 1}, ts=5), line(2, {"a": 2}, ts=70))
        add(run, "metrics-host-1.jsonl", line(1, {"a": 10}, ts=20))
        add(run, "metrics-host-1.jsonl", line(2, {"a": 20}, ts=60))
        assert values(run) == [10, 0, 1, 20, 2]


class TestRanks:
    """One rank's values count: those of rank 0, else of the least that has any."""

    @pytest.fixture
    def ranks(self, run: Path) -> Path:
        for rank in range(3):
            metric = {f"only{rank}": rank, "a": rank, **({"b": rank} if rank else {})}
            facts = {"attempt": 1, "rank": rank}
            name = f"-r{rank}" if rank else ""
            add(run, f"events{name}.jsonl", line(0, event="writer.start", data=facts))
            add(run, f"metrics{name}.jsonl", line(1, metric, 5, ts=10 - rank))
        return run

    def test_the_least_rank_that_has_the_name_counts(self, ranks: Path) -> None:
        assert [values(ranks, name) for name in ("a", "b", "only2")] == [[0], [1], [2]]
        found = {name: found.values for name, found in read_values(ranks).items()}
        assert found == {"a": [0], "b": [1], "only0": [0], "only1": [1], "only2": [2]}

    def test_a_rank_can_be_chosen(self, ranks: Path) -> None:
        assert values(ranks, rank=2) == [2]
        assert values(ranks, "only1", rank=2) == []

    def test_all_ranks_are_merged_by_time(self, ranks: Path) -> None:
        history = read_history(ranks, "a", rank="all")
        assert history.values.tolist() == [2, 1, 0]
        assert history.ranks.tolist() == [2, 1, 0]
        assert values(ranks, rank="all") == [2, 1, 0]
        assert read_history(ranks, "only1", rank="all").ranks.tolist() == [1]

    def test_a_process_that_is_no_rank_counts_as_rank_0(self, ranks: Path) -> None:
        add(ranks, "metrics-host-7.jsonl", line(1, {"a": 7}, ts=99))
        assert values(ranks) == [0, 7]
        assert read_history(ranks, "a", rank="all").ranks.tolist() == [2, 1, 0, -1]

    @pytest.mark.parametrize("rank", [-1, "0", 1.0, True])
    def test_a_wrong_rank_is_an_error(self, run: Path, rank: Any) -> None:
        with pytest.raises(ValueError, match="rank must be"):
            read_history(run, "a", rank=rank)


class TestAttempts:
    """Where attempts overlap in step, the latest wins."""

    def attempt(
        self, run: Path, number: int, *steps: int | None, rank: int = 0
    ) -> None:
        """Add an attempt that logs its own number at each of the steps."""
        names = [f"r{rank}"] * (rank > 0) + [f"a{number}"] * (number > 1)
        writer = "-".join(["", *names])
        first = number * 1_000
        lines = [
            line(i, {"a": number}, step, ts=first + i) for i, step in enumerate(steps)
        ]
        add(run, f"metrics{writer}.jsonl", *lines)

    def test_a_later_attempt_takes_over_at_its_least_step(self, run: Path) -> None:
        self.attempt(run, 1, 0, 1, 2, 3)
        self.attempt(run, 2, 3, 2, 4)
        history = read_history(run, "a")
        assert points(history) == [(0, 1), (1, 1), (3, 2), (2, 2), (4, 2)]
        assert values(run) == [1, 1, 2, 2, 2]

    def test_each_of_three_gives_way_to_those_after_it(self, run: Path) -> None:
        self.attempt(run, 1, *range(10))
        self.attempt(run, 2, *range(5, 8))
        self.attempt(run, 3, 7, 8)
        assert values(run) == [1] * 5 + [2] * 2 + [3] * 2

    def test_an_attempt_replaced_as_a_whole_is_gone(self, run: Path) -> None:
        self.attempt(run, 1, 5, 6)
        self.attempt(run, 2, 0)
        assert points(read_history(run, "a")) == [(0, 2)]

    def test_points_without_a_step_stay(self, run: Path) -> None:
        self.attempt(run, 1, None, 5, None)
        self.attempt(run, 2, 0, None)
        assert values(run) == [1, 1, 2, 2]

    def test_all_can_be_asked_for(self, run: Path) -> None:
        self.attempt(run, 1, 0, 1)
        self.attempt(run, 2, 0, 1)
        assert values(run, attempts="all") == [1, 1, 2, 2]

    def test_ranks_do_not_replace_each_other(self, run: Path) -> None:
        self.attempt(run, 1, 0, 1)
        self.attempt(run, 1, 0, 1, rank=1)
        self.attempt(run, 2, 0, rank=1)
        assert values(run, rank="all") == [1, 1, 2]
        assert values(run, rank=1) == [2]

    def test_another_word_is_an_error(self, run: Path) -> None:
        with pytest.raises(ValueError, match=r"attempts must be.*got 'last'"):
            read_history(run, "a", attempts="last")  # type: ignore[arg-type]


class TestDamage:
    """What is no point is passed over, and its neighbours are read."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\n",
            b"what?\n",
            b"\x00" * 100 + b"\n",
            CUT + b"\n",
            line(1, 5),
            line(1, [1]),
            line(1, {"a": None}),
            line(1, {"a": "text"}),
            line(1, {"a": [1]}),
            line(1, {"a": {"b": 1}}),
            line(1, value={"a": 5}),
            line(1, value=[1]),
            line(1, {}),
            line(1, later={"a": 1}),
            b'{"seq":1,"metric":{"a":9}}\n',
            b'{"ts":"2026-11-23T18:27:00.000000Z","metric":{"a":9}}\n',
        ],
    )
    def test_garbage_is_passed_over(self, run: Path, garbage: bytes) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 1}, 4), garbage, line(2, {"a": 2}, 5))
        assert values(run) == [1, 2]
        assert points(read_history(run, "a")) == [(4, 1), (5, 2)]

    def test_a_whole_entry_behind_a_cut_one_is_saved(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 0}), CUT + line(1, {"a": 1}))
        assert values(run) == [0, 1]

    def test_a_torn_last_line_is_not_there_yet(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0, {"a": 0}), line(1, {"a": 1})[:-1])
        assert values(run) == [0]
        add(run, "metrics.jsonl", b"\n")
        assert values(run) == [0, 1]

    def test_a_step_that_is_none_leaves_the_point(self, run: Path) -> None:
        steps = ["3", 1.5, True, 2**63, [1]]
        lines = (line(i, {"a": i}, step) for i, step in enumerate(steps))
        add(run, "metrics.jsonl", *lines, line(5, {"a": 5}, 9))
        assert read_history(run, "a").steps.tolist() == [0, 1, 2, 3, 4, 9]

    def test_a_point_with_a_broken_time_has_that_of_the_one_before(
        self, run: Path
    ) -> None:
        broken = b'{"ts":"soon","seq":1,"metric":{"a":1}}\n'
        add(run, "metrics.jsonl", line(0, {"a": 0}, ts=9), broken)
        assert read_history(run, "a").times.tolist() == [BEGIN + 9e-6] * 2

    def test_a_missing_first_segment_leaves_the_others(self, run: Path) -> None:
        add(run, "metrics.1.jsonl", line(3, {"a": 3}))
        assert values(run) == [3]

    def test_a_run_without_metrics_has_none(self, run: Path) -> None:
        add(run, "events.jsonl", line(0, event="writer.start", data={}))
        assert read_histories(run) == {}

    def test_no_folder_is_no_run(self, run: Path) -> None:
        with pytest.raises(RunNotFoundError, match="no run folder"):
            read_history(run / "not there", "a")


class TestRealRuns:
    """What the product writes is read back."""

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
            st.lists(
                st.floats() | st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=5
            ),
            max_size=5,
        )
    )
    def test_any_number_under_any_name(
        self, tmp_path_factory: pytest.TempPathFactory, model: dict[str, list[Any]]
    ) -> None:
        with mlog.start_run(dir=tmp_path_factory.mktemp("root")) as run:
            for name, logged in model.items():
                for step, value in enumerate(logged):
                    run.log(name, value, step=-step)
        assert run.path is not None
        found = read_histories(run.path)
        assert found.keys() == model.keys()
        for name, logged in model.items():
            assert found[name].steps.tolist() == [-step for step in range(len(logged))]
            assert repr(list(map(float, found[name].values.tolist()))) == repr(
                list(map(float, logged))
            )
            exact = [v for v in found[name].values.tolist() if type(v) is int]
            assert all(v in logged for v in exact)

    def test_several_threads_at_once(self, tmp_path: Path) -> None:
        """Each thread's values keep their order; none is lost."""
        with mlog.start_run(dir=tmp_path) as run:

            def work(number: int) -> None:
                for i in range(500):
                    run.log_metrics({f"t{number}": i, "all": i}, step=i)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert run.path is not None
        for number in range(4):
            assert values(run.path, f"t{number}") == list(range(500))
        assert len(values(run.path, "all")) == 2_000

    def test_while_another_process_writes(self, tmp_path: Path) -> None:
        """Each look finds a beginning of what there will be, never less than before."""
        code = (
            "import mlog, sys\n"
            f"with mlog.start_run(dir={str(tmp_path)!r}, run_id='live') as run:\n"
            "    print(run.path, flush=True)\n"
            "    for i in range(20_000):\n"
            "        run.log_metrics({'a': i, 'b': -i}, step=i)\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env={**os.environ, "MLOG_QUIET": "1"},
        )
        with child:
            assert child.stdout is not None
            path = Path(child.stdout.readline().strip())
            seen, ended = 0, False
            while not ended:
                ended = child.poll() is not None
                found = values_now(path)
                assert found == list(range(len(found)))
                assert len(found) >= seen
                seen = len(found)
        assert (child.returncode, seen) == (0, 20_000)


def values_now(path: Path) -> list[int]:
    found = read_values(path, "a")
    return found["a"].values if found else []


def test_data_frame_is_one_for_all(run: Path) -> None:
    """Other readers make their tables with it."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = series.data_frame({"x": [1, 2]})
    assert frame["x"].tolist() == [1, 2]
