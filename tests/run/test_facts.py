"""Params, tags, properties, name and description: rules, and where they are kept."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from tests.helpers import entries, run_python


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def events(run: mlog.Run, name: str) -> list[Any]:
    return [e["data"] for e in entries(folder(run), "events") if e["event"] == name]


# --- params ----------------------------------------------------------------------------


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    layers: tuple[int, ...] = (4, 8)


@pytest.mark.parametrize(
    "given",
    [
        {"lr": 0.1, "layers": [4, 8]},
        argparse.Namespace(lr=0.1, layers=[4, 8]),
        Config(),
    ],
    ids=["mapping", "namespace", "dataclass"],
)
def test_params_come_from_what_programs_keep_them_in(given: object) -> None:
    with mlog.start_run("e", params=given) as run:
        assert run.params == {"lr": 0.1, "layers": [4, 8]}


def test_params_come_by_keyword() -> None:
    with mlog.start_run("e") as run:
        run.log_params(lr=0.1, batch=32)
        assert run.params == {"lr": 0.1, "batch": 32}


def test_params_of_a_wrong_type_warn_and_nothing_is_recorded() -> None:
    with mlog.start_run("e") as run:
        with pytest.warns(MlogWarning, match="log_params"):
            run.log_params(7)
        assert run.params == {}


def test_a_param_keeps_its_first_value_also_through_a_handle() -> None:
    with mlog.start_run("e", params={"lr": 1}) as run:
        pass
    again = mlog.open_run(run.id)
    with pytest.warns(MlogWarning, match="'lr' is 1 already"):
        again.log_params(lr=2, batch=3)
    assert again.params == {"lr": 1, "batch": 3}


# --- tags ------------------------------------------------------------------------------


def test_a_tag_may_change_and_go() -> None:
    with mlog.start_run("e", tags={"owner": "me"}) as run:
        run.tag("owner", "you")
        run.tag("kept")
        run.set_tags({"n": 3, "gone": "x"})
        run.remove_tags(["gone", "never there"])
        assert run.tags == {"owner": "you", "kept": None, "n": "3"}
        assert run.get_tags() == run.tags


def test_tags_and_properties_can_be_added_to_a_finished_run() -> None:
    with mlog.start_run("e") as run:
        pass
    run.tag("judged", "good")
    again = mlog.open_run(run.id)
    again.set_tags({"by": "me"})
    again.add_properties({"source": "test"})
    for one in (run, again):
        assert one.get_tags() == {"judged": "good", "by": "me"}
        assert one.get_properties() == {"source": "test"}
    assert again.status == "Completed"
    assert mlog.runs(filter="tag.judged = good")[0].id == run.id


def test_a_child_process_tags_the_run_it_is_part_of() -> None:
    with mlog.start_run("e") as run:
        done = run_python("import mlog; mlog.current_run().tag('from', 'child')")
        assert done.returncode == 0, done.stderr
        assert run.get_tags() == {"from": "child"}
    assert b'"from": "child"' in (folder(run) / "run.json").read_bytes()


def test_tags_of_a_wrong_type_warn() -> None:
    with mlog.start_run("e") as run, pytest.warns(MlogWarning, match="mapping"):
        run.set_tags(["a"])  # type: ignore[arg-type]


# --- properties ------------------------------------------------------------------------


def test_a_property_cannot_change_and_a_refused_call_adds_none() -> None:
    with mlog.start_run("e") as run:
        run.add_properties({"a": 1})
        run.add_properties({"a": "1"})
        run.add_properties({})
        with pytest.raises(ValueError, match=r"'a' is '1' already .*set_tags"):
            run.add_properties({"b": "2", "a": "3"})
        assert run.properties == {"a": "1"}
        assert run.get_properties() == {"a": "1"}
        assert events(run, "run.properties") == [{"a": "1"}]


def test_properties_of_a_wrong_type_are_refused() -> None:
    with mlog.start_run("e") as run, pytest.raises(TypeError, match="got list"):
        run.add_properties(["a"])  # type: ignore[arg-type]


# --- name and description --------------------------------------------------------------


def test_name_and_description_can_be_changed_at_any_time() -> None:
    with mlog.start_run("e", name="first", description="some words") as run:
        run.display_name = "second"
    run.description = "other words"
    again = mlog.open_run("second")
    assert (again.id, again.name) == (run.id, "second")
    assert again.description == "other words"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_name_that_is_taken_away_is_the_id(nothing: str | None) -> None:
    with mlog.start_run("e", name="first") as run:
        run.display_name = nothing
    assert run.name == run.id
    assert mlog.open_run(run.id).name == run.id


def test_long_integers_are_kept_exactly() -> None:
    """Seeds may have 128 bits; what reads the files may have only doubles."""
    seed = 2**127 + 1
    with mlog.start_run("e", params={"seed": seed, "more": [{"n": -seed}]}) as run:
        run.log_params(seed=seed)  # no warning: it is the same
        assert run.params == {"seed": seed, "more": [{"n": -seed}]}
    text = (folder(run) / "events.jsonl").read_text("utf-8")
    assert f'"seed":{seed}' in text
    assert f'"n":{-seed}' in text


def test_a_long_integer_may_be_set_again_by_others() -> None:
    """They know it from the files, as a double."""
    with mlog.start_run("e", run_id="r", params={"seed": 10**30}):
        pass
    with mlog.start_run("e", run_id="r", resume=True) as run:
        run.log_params(seed=10**30)  # no warning
        with pytest.warns(MlogWarning, match="param 'seed' is 1e"):
            run.log_params(seed=2 * 10**30)


def test_a_rank_that_contradicts_itself_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it only differs from rank 0 nothing is said: each has its own device."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with mlog.start_run("e", run_id="r") as run:
        run.log_params(device=1)
        with pytest.warns(MlogWarning, match="param 'device' is 1 already"):
            run.log_params(device=2)
    assert run.rank == 1


def test_a_text_that_is_too_long_is_told() -> None:
    """It is cut once, the same for who has set it and for who reads it."""
    text = "a" * 300_000
    with mlog.start_run("e") as run:
        with pytest.warns(MlogWarning, match="300,000 characters is too long") as told:
            run.log_params(text=text)
            run.tag("text", text)
            run.add_properties({"text": text})
        kept = run.params["text"]
        assert run.tags == run.properties == {"text": kept}
    again = mlog.open_run(run.id)
    assert again.params == again.tags == again.properties == {"text": kept}
    assert "characters cut" in kept
    assert len(told) == 1
    with (
        mlog.start_run("e", strict=True) as run,
        pytest.raises(MlogWarning, match="is too long"),
    ):
        run.tag("text", text)


def test_secrets_are_taken_out_of_all_of_them() -> None:
    secret = "sk-" + "a1B2" * 10
    with mlog.start_run("e", params={"api_key": secret}) as run:
        run.tag("password", secret)
        run.add_properties({"token": secret})
        run.description = f"token={secret}"
    for file in folder(run).iterdir():
        assert secret.encode() not in file.read_bytes()


def test_a_run_that_is_off_takes_all_and_keeps_nothing() -> None:
    run = mlog.start_run("e", disabled=True, params={"a": 1}, description="x")
    run.add_properties({"a": "1"})
    run.tag("b")
    run.remove_tags("b")
    assert (run.params, run.get_tags(), run.get_properties()) == (
        {"a": 1},
        {},
        {"a": "1"},
    )
    run.complete()


def test_no_description_is_an_empty_one() -> None:
    with mlog.start_run("e", description="d") as run:
        run.description = None  # type: ignore[assignment]
        assert (run.description, mlog.open_run(run.id).description) == ("", "")
