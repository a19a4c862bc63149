"""The metrics of a run in the shapes they were logged in."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.errors import MlogError, RunNotFoundError, UnsafePathError
from mlog.reader.metrics import read_metrics
from mlog.run.api import Run

CHART = {
    "schema_type": "confusion_matrix",
    "schema_version": "1.0.0",
    "data": {"class_labels": ["a", "b"], "matrix": [[1, 0], [0, 1]]},
}


@pytest.fixture
def run(mlog_run: Run) -> Run:
    """Return an open run; it is read while it is written."""
    return mlog_run


def listed(*values: Any) -> dict[str, Any]:
    return {"type": "mlog.list", "values": list(values)}


def row(**columns: Any) -> dict[str, Any]:
    return {"type": "mlog.row", "columns": columns}


def table(**columns: Any) -> dict[str, Any]:
    return {"type": "mlog.table", "columns": columns}


def artifact(path: str, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "mlog.artifact", "path": path, "media_type": media_type}


def chart(path: str, *, inline: bool) -> dict[str, Any]:
    more = CHART if inline else {"schema_type": "confusion_matrix"}
    return {"type": "mlog.confusion_matrix", **more, "path": path}


def read(run: Run, *logged: Any, **options: Any) -> Any:
    """Log values under one name, and return what is read back of it."""
    for value in logged:
        run.log("x", value)
    assert run.path is not None
    return read_metrics(run.path, **options)["x"]


def put(run: Run, name: str, data: bytes) -> None:
    assert run.path is not None
    path = run.path / "artifacts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class TestShapes:
    """A name's shape follows from how it was logged, not from how often."""

    def test_a_value_logged_once_is_itself(self, run: Run) -> None:
        assert read(run, 0.5) == 0.5

    def test_a_value_logged_several_times_is_a_list(self, run: Run) -> None:
        assert read(run, 3, 1, 2) == [3, 1, 2]

    @pytest.mark.parametrize(
        "value", [0, -(2**63), 2**64 - 1, 2**53 + 1, 1e300, -0.0, "text", "NaN", ""]
    )
    def test_numbers_and_texts_are_exact(self, run: Run, value: Any) -> None:
        found = read(run, value)
        assert (found, type(found), str(found)) == (value, type(value), str(value))

    def test_nan_and_infinities_are_floats(self, run: Run) -> None:
        nan, *rest = read(run, math.nan, math.inf, -math.inf)
        assert math.isnan(nan)
        assert rest == [math.inf, -math.inf]

    def test_booleans_were_written_as_numbers(self, run: Run) -> None:
        assert read(run, True, False) == [1, 0]

    def test_texts_and_numbers_of_a_name_are_in_order(self, run: Run) -> None:
        assert read(run, 1, "two", 3) == [1, "two", 3]

    @pytest.mark.parametrize("values", [[], [1], [1, 2.5, "x", None, True]])
    def test_a_list_is_always_a_list(self, run: Run, values: list[Any]) -> None:
        assert read(run, listed(*values)) == values

    def test_lists_and_values_of_a_name_are_put_together(self, run: Run) -> None:
        assert read(run, listed(1, 2), listed(), 3, listed(4)) == [1, 2, 3, 4]

    def test_a_row_is_a_dict(self, run: Run) -> None:
        assert read(run, row(a=1, b="x", c=None)) == {"a": 1, "b": "x", "c": None}

    def test_rows_are_columns(self, run: Run) -> None:
        assert read(run, row(a=1), row(a=2)) == {"a": [1, 2]}

    def test_rows_with_other_columns_have_none_there(self, run: Run) -> None:
        found = read(run, row(a=1), row(b=2), row(a=3, c=4))
        expected = {"a": [1, None, 3], "b": [None, 2, None], "c": [None, None, 4]}
        assert found == expected

    @pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": [1]}, {"a": [1, "x"]}])
    def test_a_table_has_lists(self, run: Run, columns: dict[str, Any]) -> None:
        assert read(run, table(**columns)) == columns

    def test_tables_and_rows_of_a_name_are_one_table(self, run: Run) -> None:
        found = read(run, row(a=1), table(a=[2, 3], b=[4, 5]), row(b=6))
        assert found == {"a": [1, 2, 3, None], "b": [None, 4, 5, 6]}

    def test_a_table_with_columns_of_unequal_length_is_filled_up(
        self, run: Run
    ) -> None:
        found = read(run, table(a=[1, 2], b=[3]), row(a=4, b=5))
        assert found == {"a": [1, 2, 4], "b": [3, None, 5]}

    def test_floats_in_lists_rows_and_tables_are_floats(self, run: Run) -> None:
        run.log("l", listed("NaN", "-Infinity", 1))
        run.log("r", row(a="Infinity"))
        run.log("t", table(a=["NaN", 2]))
        assert run.path is not None
        found = read_metrics(run.path)
        assert repr(found["l"]) == "[nan, -inf, 1]"
        assert repr(found["r"]) == "{'a': inf}"
        assert repr(found["t"]) == "{'a': [nan, 2]}"

    def test_a_histogram_is_edges_and_counts(self, run: Run) -> None:
        one = {"edges": [0, 0.5, 1], "counts": [3, 4]}
        assert read(run, {"type": "mlog.histogram", **one}) == one
        assert read(run, {"type": "mlog.histogram", **one}) == [one, one]

    def test_rows_beside_values_are_a_list_of_all(self, run: Run) -> None:
        assert read(run, 1, row(a=2), listed(3)) == [1, {"a": 2}, [3]]

    def test_what_is_not_known_stays_as_it_is(self, run: Run) -> None:
        later, broken = {"type": "mlog.later", "x": 1}, {"type": "mlog.list"}
        assert read(run, later, broken) == [later, broken]

    def test_a_description_in_the_place_of_a_value_is_its_text(self, run: Run) -> None:
        assert read(run, {"type": "mlog.repr", "value": "<Thing>"}) == "<Thing>"


class TestNames:
    """All metrics, one or several."""

    def test_only_those_asked_for(self, run: Run) -> None:
        run.log_metrics({"a": 1, "b/c": 2, "é 🚀": 3})
        assert run.path is not None
        assert read_metrics(run.path) == {"a": 1, "b/c": 2, "é 🚀": 3}
        assert read_metrics(run.path, "é 🚀") == {"é 🚀": 3}
        assert read_metrics(run.path, ["a", "b/c", "?"]) == {"a": 1, "b/c": 2}
        assert read_metrics(run.path, "?") == {}

    def test_a_run_without_metrics_has_none(self, run: Run) -> None:
        assert run.path is not None
        assert read_metrics(run.path) == {}

    def test_no_folder_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunNotFoundError, match="no run folder"):
            read_metrics(tmp_path / "not there")

    def test_the_latest_attempt_counts_where_steps_overlap(
        self, mlog_root: Path
    ) -> None:
        for attempt in (1, 2):
            with mlog.start_run(run_id="again", resume=attempt > 1) as run:
                for step in range(attempt - 1, 3):
                    run.log("x", attempt * 10 + step, step=step)
        assert run.path is not None
        assert read_metrics(run.path) == {"x": [10, 21, 22]}
        assert read_metrics(run.path, attempts="all") == {"x": [10, 11, 12, 21, 22]}


class TestArtifacts:
    """What lies in a file is its path, or its content if that is asked for."""

    def test_a_path_or_their_list(self, run: Run) -> None:
        assert read(run, artifact("a/b.png")) == "a/b.png"
        assert read(run, artifact("c.png")) == ["a/b.png", "c.png"]
        run.log("m", chart("m", inline=True))
        assert run.path is not None
        assert read_metrics(run.path, "m") == {"m": "m"}

    def test_populate_gives_the_bytes(self, run: Run) -> None:
        put(run, "a/b.png", b"\x89PNG")
        assert read(run, artifact("a/b.png"), populate=True) == b"\x89PNG"
        assert read(run, 5, populate=True) == [b"\x89PNG", 5]

    def test_populate_leaves_other_values(self, run: Run) -> None:
        assert read(run, listed(1), populate=True) == [1]

    @pytest.mark.parametrize("inline", [True, False])
    def test_populate_gives_what_is_in_a_chart(self, run: Run, inline: bool) -> None:
        """A small one is in the entry itself."""
        if not inline:
            put(run, "x", json.dumps(CHART).encode())
        assert read(run, chart("x", inline=inline), populate=True) == CHART

    def test_populate_gives_what_is_in_json(self, run: Run) -> None:
        put(run, "x.json", b'{"a": [1, NaN]}')
        found = read(run, artifact("x.json", "application/json"), populate=True)
        assert repr(found) == "{'a': [1, nan]}"

    def test_broken_json_is_bytes(self, run: Run) -> None:
        put(run, "x.json", b"{")
        found = read(run, artifact("x.json", "application/json"), populate=True)
        assert found == b"{"

    def test_a_missing_one_is_told(self, run: Run) -> None:
        with pytest.raises(MlogError, match=r"'x'.*'gone\.png'.*No such file.*path"):
            read(run, artifact("gone.png"), populate=True)

    @pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "..", "a//b", ""])
    def test_nothing_outside_is_read(self, run: Run, path: str) -> None:
        put(run, "a/b", b"")
        put(run, "../secret", b"secret")
        with pytest.raises(MlogError):
            read(run, artifact(path), populate=True)

    def test_links_are_not_followed(self, run: Run) -> None:
        put(run, "real/x", b"secret")
        assert run.path is not None
        (run.path / "artifacts" / "file").symlink_to("real/x")
        (run.path / "artifacts" / "folder").symlink_to("real")
        run.log("f", artifact("file"))
        run.log("d", artifact("folder/x"))
        for name in ("f", "d"):
            with pytest.raises(UnsafePathError, match="is a link"):
                read_metrics(run.path, name, populate=True)


# --- any sequence of calls -----------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
# Texts that stand for floats cannot be told from them inside of lists and rows.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda text: text not in ("NaN", "Infinity", "-Infinity")
)
NUMBERS = st.floats() | st.integers(-(2**63), 2**64 - 1)
CELLS = NUMBERS | TEXTS | st.none()
CALLS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("log"), NUMBERS | TEXTS),
    st.tuples(st.just("list"), st.lists(CELLS, max_size=4)),
    st.tuples(st.just("row"), st.dictionaries(NAMES, CELLS, min_size=1, max_size=3)),
    st.tuples(
        st.just("table"),
        st.integers(0, 3).flatmap(
            lambda length: st.dictionaries(
                NAMES, st.lists(CELLS, min_size=length, max_size=length), max_size=3
            )
        ),
    ),
)
# A name keeps to values and lists, or to rows and tables, as in v1.
KINDS = st.sampled_from([("log",), ("log", "list"), ("row",), ("row", "table")])


class Model:
    """What v1's `get_metrics` returns of a sequence of calls, without its exceptions."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[str, Any]]] = {}

    def log(self, name: str, kind: str, value: Any) -> None:
        self.calls.setdefault(name, []).append((kind, value))

    def metrics(self) -> dict[str, Any]:
        return {name: self._shape(calls) for name, calls in self.calls.items()}

    def _shape(self, calls: list[tuple[str, Any]]) -> Any:
        kinds = {kind for kind, _ in calls}
        if kinds <= {"row", "table"}:
            return (
                calls[0][1] if calls[1:] == [] and kinds == {"row"} else columns(calls)
            )
        items: list[Any] = []
        for kind, value in calls:
            items += value if kind == "list" else [value]
        return items if "list" in kinds or len(items) > 1 else items[0]


def columns(calls: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return rows and tables as one table, made row by row."""
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for kind, value in calls:
        names.update(dict.fromkeys(value))
        if kind == "row":
            rows.append(value)
        else:
            length = len(next(iter(value.values()), []))
            rows += [{n: cells[i] for n, cells in value.items()} for i in range(length)]
    return {name: [row.get(name) for row in rows] for name in names}


def is_of(kinds: tuple[str, ...], call: tuple[str, Any]) -> bool:
    return call[0] in kinds


def typed(kind: str, value: Any) -> Any:
    """Return what is passed to `run.log` for a call."""
    if kind == "log":
        return value
    return {"type": f"mlog.{kind}", "values" if kind == "list" else "columns": value}


@given(data=st.data(), kinds=st.dictionaries(NAMES, KINDS, max_size=4))
def test_any_sequence_of_calls_reads_back_as_a_plain_model_says(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    kinds: dict[str, tuple[str, ...]],
) -> None:
    """Any float, any Unicode name; also while the run is open."""
    model = Model()
    with mlog.start_run(dir=tmp_path_factory.mktemp("root"), redact=False) as run:
        for _ in range(data.draw(st.integers(0, 12)) if kinds else 0):
            name = data.draw(st.sampled_from(sorted(kinds)))
            kind, value = data.draw(CALLS.filter(partial(is_of, kinds[name])))
            run.log(name, typed(kind, value))
            model.log(name, kind, value)
        batch = data.draw(st.dictionaries(NAMES.map("batch/".__add__), NUMBERS))
        if batch:
            run.log_metrics(batch, step=data.draw(st.integers(-9, 9)))
            for name, value in batch.items():
                model.log(name, "log", value)
        assert run.path is not None
        # By their text, in which -0.0, NaN and 1.0 are not 0, themselves and 1.
        assert repr(sorted(read_metrics(run.path).items())) == repr(
            sorted(model.metrics().items())
        )
