"""What all adapters share: which run they log to, who ends it, what they say."""

import copy
import pickle

import pytest

import mlog
from mlog.adapters import AdapterRun, joined, plain_params
from tests.helpers import run_python

WITH_A_BASE_CLASS = ["accelerate", "keras", "lightning", "transformers", "xgboost"]


class TestTheRun:
    def test_the_active_run_is_used_and_goes_on(self) -> None:
        with mlog.start_run("e") as run:
            own = AdapterRun()
            assert own.run is run
            own.end()
            assert run.status == "Running"

    def test_a_given_run_wins(self) -> None:
        with mlog.start_run("e") as given, mlog.start_run("e"):
            assert AdapterRun(given).run is given

    def test_without_one_it_begins_and_ends_its_own(self) -> None:
        own = AdapterRun(experiment="alone")
        run = own.run
        assert (run.experiment, run.status) == ("alone", "Running")
        own.end()
        own.end()
        assert run.status == "Completed"

    def test_an_error_ends_it_as_failed_and_ctrl_c_as_canceled(self) -> None:
        failed, canceled = AdapterRun(), None
        first = failed.run
        failed.end(ValueError("diverged"))
        canceled = AdapterRun()
        second = canceled.run
        canceled.end(KeyboardInterrupt())
        assert (first.status, second.status) == ("Failed", "Canceled")

    def test_the_next_training_has_a_run_of_its_own(self) -> None:
        own = AdapterRun()
        first = own.run
        own.end()
        own.renew()
        second = own.run
        own.end()
        assert first.id != second.id

    def test_a_copy_logs_to_the_same_run(self) -> None:
        """Frameworks copy their callbacks before they use them."""
        own = AdapterRun()
        run = own.run
        assert copy.deepcopy(own).run is run
        own.end()

    def test_a_pickled_one_finds_the_active_run(self) -> None:
        with mlog.start_run("e") as run:
            own = AdapterRun()
            assert own.run is run
            assert pickle.loads(pickle.dumps(own)).run is run


class TestParams:
    def test_odd_values_become_words(self) -> None:
        class Odd:
            def __repr__(self) -> str:
                return "Odd(1)"

        given = {"a": 1, "b": [Odd()], "c": {"d": None, "e": Odd()}}
        expected = {"a": 1, "b": ["Odd(1)"], "c": {"d": None, "e": "Odd(1)"}}
        assert plain_params(given) == expected

    def test_scalars_of_libraries_become_numbers(self) -> None:
        numpy = pytest.importorskip("numpy")
        assert plain_params({"a": numpy.int64(2), "b": numpy.float32(0.5)}) == {
            "a": 2,
            "b": 0.5,
        }

    @pytest.mark.parametrize(
        ("prefix", "name", "whole"), [("", "a", "a"), ("x", "a/b", "x/a/b")]
    )
    def test_names_are_grouped(self, prefix: str, name: str, whole: str) -> None:
        assert joined(prefix, name) == whole


@pytest.mark.parametrize("name", WITH_A_BASE_CLASS)
def test_without_its_framework_an_adapter_says_how_to_install_it(name: str) -> None:
    hidden = f"import sys; sys.modules.update({{{name!r}: None}})\n"
    if name == "lightning":
        hidden += "sys.modules.update(pytorch_lightning=None)\n"
    done = run_python(f"{hidden}import mlog.{name}")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: this part of mlog is for ")
    assert f"pip install {name}" in last


def test_no_adapter_is_loaded_by_mlog_itself() -> None:
    done = run_python(
        "import sys, mlog\n"
        "with mlog.start_run('e') as run: run.log('a', 1)\n"
        "print([m for m in sys.modules if m in ('mlog.adapters', 'mlog.keras')])"
    )
    assert done.stdout == "[]\n", done.stderr
