"""Finding runs by what people call them."""

import json
import os
from pathlib import Path
from typing import Protocol

import pytest

from mlog.errors import MlogError, RunNotFoundError
from mlog.layout import slug
from mlog.reader.find import find_run, iter_runs

OLD = "20261123-090000-aaaaaa"
MIDDLE = "20261123-100000-bbbbbb"
NEW = "20261124-080000-cccccc"
TS = "2026-11-23T09:00:00.000001Z"
LATER = "2026-11-23T10:00:00.000001Z"


class MakeRun(Protocol):
    """Make a run folder as a writer would leave it."""

    def __call__(
        self, experiment: str, run_id: str, *, name: str = "", ts: str = TS
    ) -> Path:
        """Make `<root>/<experiment>/<run_id>` with its first event at `ts`."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root that runs are made in; its own folder, so that others can lie beside."""
    return tmp_path / "root"


@pytest.fixture
def make_run(root: Path) -> MakeRun:
    """Make a run folder as a writer would leave it."""

    def make(experiment: str, run_id: str, *, name: str = "", ts: str = TS) -> Path:
        run = root / experiment / run_id
        run.mkdir(parents=True)
        event = {"ts": ts, "seq": 0, "event": "writer.start", "data": {}}
        (run / "events.jsonl").write_text(json.dumps(event) + "\n")
        if name:
            (run / "run.json").write_text(json.dumps({"display_name": name}))
        return run

    return make


@pytest.fixture
def three(make_run: MakeRun) -> list[Path]:
    """Three runs in two experiments, oldest first."""
    return [
        make_run("mnist", OLD, name="baseline"),
        make_run("mnist", MIDDLE, name="wide net"),
        make_run("cifar", NEW, name="deep"),
    ]


class TestIterRuns:
    """A run folder holds `run.json` or a segment."""

    def test_all_runs_by_experiment_and_id(self, root: Path, three: list[Path]) -> None:
        old, middle, new = three
        assert list(iter_runs(root)) == [new, old, middle]

    def test_missing_root_has_none(self, root: Path) -> None:
        assert list(iter_runs(root)) == []

    def test_summary_or_any_segment_makes_a_run(
        self, root: Path, three: list[Path]
    ) -> None:
        for name in ("run.json", "metrics-r3.2.jsonl"):
            folder = root / "mnist" / f"with-{name}"
            folder.mkdir()
            (folder / name).touch()
            assert folder in iter_runs(root)

    def test_other_folders_are_none(self, root: Path, three: list[Path]) -> None:
        (root / "mnist" / "empty").mkdir()
        (root / "mnist" / "notes").mkdir()
        (root / "mnist" / "notes" / "todo.txt").touch()
        assert len(list(iter_runs(root))) == 3

    def test_folders_with_a_dot_are_neither_experiments_nor_runs(
        self, root: Path, make_run: MakeRun
    ) -> None:
        make_run(".models", "resnet")
        make_run("mnist", ".unpacking")
        assert list(iter_runs(root)) == []

    def test_links_below_the_root_are_not_followed(
        self, root: Path, three: list[Path], tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside" / "run"
        outside.mkdir(parents=True)
        (outside / "run.json").touch()
        (root / "linked").symlink_to(outside.parent)
        (root / "mnist" / "linked").symlink_to(outside)
        only_link = root / "mnist" / "only-link"
        only_link.mkdir()
        (only_link / "run.json").symlink_to(outside / "run.json")
        assert len(list(iter_runs(root))) == 3

    def test_root_may_be_a_link(
        self, root: Path, three: list[Path], tmp_path: Path
    ) -> None:
        link = tmp_path / "link"
        link.symlink_to(root)
        assert link / "mnist" / OLD in iter_runs(link)


class TestFindRun:
    """By id, path, name, beginning of the id, `latest` or `-2`."""

    @pytest.mark.parametrize(
        "ref",
        [
            pytest.param(MIDDLE, id="id"),
            pytest.param(f"mnist/{MIDDLE}", id="experiment-and-id"),
            pytest.param("wide net", id="name"),
            pytest.param("20261123-1", id="beginning-of-id"),
            pytest.param("bbbbbb", id="end-of-id-as-printed"),
            pytest.param("-2", id="second-newest"),
        ],
    )
    def test_one_run_has_many_names(
        self, root: Path, three: list[Path], ref: str
    ) -> None:
        assert find_run(ref, root=root) == three[1]

    @pytest.mark.parametrize("ref", ["latest", "-1"])
    def test_latest_is_the_newest(
        self, root: Path, three: list[Path], ref: str
    ) -> None:
        assert find_run(ref, root=root) == three[2]

    def test_absolute_path(self, root: Path, three: list[Path]) -> None:
        assert find_run(str(three[0]), root=root) == three[0]

    def test_relative_path(
        self, root: Path, three: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(three[0].parent)
        assert find_run(f"./{OLD}/", root=root) == three[0]
        monkeypatch.chdir(three[1])
        assert find_run(".", root=root) == three[1]

    def test_path_outside_the_root(
        self, root: Path, three: list[Path], tmp_path: Path
    ) -> None:
        """A run that was copied elsewhere is read where it lies."""
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "metrics.jsonl").touch()
        assert find_run(str(copy), root=root) == copy

    def test_path_through_a_link_below_the_root_is_not_followed(
        self, root: Path, three: list[Path]
    ) -> None:
        (root / "link").symlink_to(three[0].parent)
        with pytest.raises(RunNotFoundError):
            find_run(str(root / "link" / OLD), root=root)

    def test_id_that_had_to_be_slugged_is_found_as_typed(
        self, root: Path, make_run: MakeRun
    ) -> None:
        run = make_run("mnist", slug("my run: 1"))
        assert find_run("my run: 1", root=root) == run

    def test_id_comes_before_name_and_name_before_beginning(
        self, root: Path, make_run: MakeRun
    ) -> None:
        make_run("e", "net-2", name="net")
        by_id = make_run("e", "net", name="other")
        assert find_run("net", root=root) == by_id
        by_name = make_run("e", "x", name="net-")
        assert find_run("net-", root=root) == by_name

    def test_beginning_of_the_last_digits_comes_last(
        self, root: Path, three: list[Path], make_run: MakeRun
    ) -> None:
        """`mlog ls` shows no more of an id than these."""
        assert find_run("bbb", root=root) == three[1]
        named = make_run("mnist", "bbb-mine")
        assert find_run("bbb", root=root) == named

    def test_experiment_narrows_the_search(self, root: Path, three: list[Path]) -> None:
        assert find_run("latest", root=root, experiment="mnist") == three[1]
        with pytest.raises(RunNotFoundError, match="experiment 'mnist'"):
            find_run(NEW, root=root, experiment="mnist")

    @pytest.mark.parametrize(
        "ref", ["my exp/one", f"{slug('my exp')}/one", "my exp/wide net"]
    )
    def test_experiment_stands_in_front_by_either_name(
        self, root: Path, make_run: MakeRun, ref: str
    ) -> None:
        """Before an id or a name."""
        run = make_run(slug("my exp"), "one", name="wide net")
        make_run("other", "one", name="wide net")
        assert find_run(ref, root=root) == run

    def test_experiment_is_given_by_its_name(
        self, root: Path, make_run: MakeRun
    ) -> None:
        run = make_run(slug("my experiment"), OLD)
        assert find_run("latest", root=root, experiment="my experiment") == run


class TestNewest:
    """Newest is what was created last, whatever was written to last."""

    def test_going_on_with_an_old_run_does_not_make_it_new(
        self, root: Path, three: list[Path]
    ) -> None:
        os.utime(three[0] / "events.jsonl")
        with open(three[0] / "metrics.jsonl", "w") as file:
            file.write("{}\n")
        assert find_run("latest", root=root) == three[2]

    def test_own_ids_are_ordered_by_their_first_event(
        self, root: Path, three: list[Path], make_run: MakeRun
    ) -> None:
        run = make_run("mnist", "zz-own", ts="2026-11-23T09:30:00.000001Z")
        assert find_run("-3", root=root) == run

    def test_first_event_orders_the_runs_of_one_second(
        self, root: Path, make_run: MakeRun
    ) -> None:
        early, late = "20261123-090000-ffffff", "20261123-090000-000000"
        make_run("e", early, ts="2026-11-23T09:00:00.100000Z")
        run = make_run("e", late, ts="2026-11-23T09:00:00.900000Z")
        assert find_run("latest", root=root) == run

    def test_run_without_a_time_is_the_oldest(
        self, root: Path, three: list[Path]
    ) -> None:
        run = root / "mnist" / "own"
        run.mkdir()
        (run / "events.jsonl").write_text('{"ts": "20')
        assert find_run("-4", root=root) == run

    def test_more_than_there_are(self, root: Path, three: list[Path]) -> None:
        with pytest.raises(RunNotFoundError, match="no run '-4': only 3 in"):
            find_run("-4", root=root)


class TestNothingOrTooMuch:
    """The error says what was looked for, where, and what to try next."""

    def test_ambiguous_beginning_lists_the_runs(
        self, root: Path, three: list[Path]
    ) -> None:
        with pytest.raises(MlogError, match="'20261123' fits 2 runs") as caught:
            find_run("20261123", root=root)
        assert f"mnist/{OLD}, mnist/{MIDDLE}" in str(caught.value)
        assert not isinstance(caught.value, RunNotFoundError)

    def test_name_of_two_runs_is_ambiguous(
        self, root: Path, three: list[Path], make_run: MakeRun
    ) -> None:
        make_run("cifar", "again", name="baseline")
        with pytest.raises(MlogError, match="'baseline' fits 2 runs"):
            find_run("baseline", root=root)

    def test_long_list_is_cut(self, root: Path, make_run: MakeRun) -> None:
        for number in range(20):
            make_run("e", f"r-{number:02}")
        with pytest.raises(MlogError, match=r"e/r-07 and 12 more$"):
            find_run("r-", root=root)

    def test_closest_names_are_offered(self, root: Path, three: list[Path]) -> None:
        with pytest.raises(
            RunNotFoundError, match=r"did you mean baseline\?"
        ) as caught:
            find_run("basline", root=root)
        assert str(root) in str(caught.value)

    def test_a_name_is_offered_as_it_can_be_typed(
        self, root: Path, make_run: MakeRun
    ) -> None:
        """In quotes where it needs them; nothing in it reaches the terminal as it is."""
        make_run("e", "one", name="wide net")
        make_run("e", "two", name="wide\x1b[2Jnot")
        with pytest.raises(RunNotFoundError) as caught:
            find_run("wide nat", root=root)
        assert "did you mean 'wide net', wide\\x1b[2Jnot?" in str(caught.value)

    def test_closest_ids_are_offered(self, root: Path, three: list[Path]) -> None:
        """Also of what `mlog ls` shows of them."""
        with pytest.raises(RunNotFoundError, match=r"did you mean cccccc\?"):
            find_run("cccxcc", root=root)

    @pytest.mark.parametrize("ref", ["latest", "-2", "x"])
    def test_empty_root_says_so(self, root: Path, ref: str) -> None:
        with pytest.raises(RunNotFoundError, match=f"'{ref}': no runs yet in .*root"):
            find_run(ref, root=root)

    @pytest.mark.parametrize("ref", ["", "~no-such-user/x", "a\0b", "../..", "-0"])
    def test_odd_text_is_simply_not_found(
        self, root: Path, three: list[Path], ref: str
    ) -> None:
        with pytest.raises(RunNotFoundError):
            find_run(ref, root=root)

    @pytest.mark.parametrize(
        "text",
        [b"", b"{", b"[]", b"\xff", b'{"display_name": 3}', b"[" * 100_000],
        ids=["empty", "cut", "list", "not-utf8", "no-text", "deep"],
    )
    def test_broken_summary_hides_only_the_name(
        self, root: Path, make_run: MakeRun, text: bytes
    ) -> None:
        run = make_run("e", "a1")
        (run / "run.json").write_bytes(text)
        assert find_run("a", root=root) == run

    @pytest.mark.parametrize("text", [None, "", "{", "{}", '{"display_name": ""}'])
    def test_without_the_summary_the_events_name_it(
        self, root: Path, make_run: MakeRun, text: str | None
    ) -> None:
        """As the list of runs does; the last name counts."""
        run = make_run("e", "a1", name="gone")
        (run / "run.json").unlink()
        if text is not None:
            (run / "run.json").write_text(text)
        with open(run / "events.jsonl", "a") as file:
            for event, name in (("run.start", "first"), ("run.update", "wide net")):
                entry = {"ts": TS, "event": event, "data": {"display_name": name}}
                file.write(json.dumps(entry) + "\n")
        assert find_run("wide net", root=root) == run
        with pytest.raises(RunNotFoundError):
            find_run("first", root=root)

    @pytest.mark.parametrize("status", ["Running", "Preparing", None])
    def test_new_name_of_a_run_without_an_end_counts_at_once(
        self, root: Path, make_run: MakeRun, status: str | None
    ) -> None:
        """`run.json` follows some time later, and never where the writer was killed."""
        run = make_run("e", "a1")
        said = {"display_name": "first", "status": status}
        (run / "run.json").write_text(json.dumps(said))

        def write(file: str, ts: str, event: str, data: object) -> None:
            entry = {"ts": ts, "event": event, "data": data}
            with open(run / file, "a") as events:
                events.write(json.dumps(entry) + "\n")

        write("events-host-7.jsonl", LATER, "run.update", {"display_name": "newest"})
        write("events.jsonl", TS, "run.start", {"display_name": "first"})
        write("events.jsonl", TS, "run.update", {"display_name": "second"})
        write("events.jsonl", LATER, "run.params", {"display_name": "a param"})
        assert find_run("newest", root=root) == run
        for gone in ("first", "second", "a param"):
            with pytest.raises(RunNotFoundError):
                find_run(gone, root=root)

    def test_summary_that_is_a_link_or_no_file_is_not_read(
        self, root: Path, three: list[Path], tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret.json"
        secret.write_text('{"display_name": "secret"}')
        (three[0] / "run.json").unlink()
        (three[0] / "run.json").symlink_to(secret)
        (three[1] / "run.json").unlink()
        (three[1] / "run.json").mkdir()
        with pytest.raises(RunNotFoundError):
            find_run("secret", root=root)
