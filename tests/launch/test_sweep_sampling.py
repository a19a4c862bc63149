"""Which trials a sweep has."""

import logging
from importlib.util import find_spec
from typing import Any

import pytest

from mlog.launch.sweep import make_sampling
from mlog.launch.sweep_sampling import (
    Bayesian,
    Grid,
    Listed,
    Random,
    Sampling,
    sampling_from,
)
from mlog.launch.sweep_space import make_space
from mlog.run.start import start_run

SPACE = make_space({"a": "0:1:0.1", "b": [2, 4]})
WIDE = make_space({"a": "log:1e-4:1", "b": [2, 4]})

needs_optuna = pytest.mark.skipif(
    find_spec("optuna") is None, reason="optuna is not installed"
)


def all_of(sampling: Sampling) -> list[dict[str, Any]]:
    numbers = range(sampling.count)
    return [sampling.params(number, (), minimize=True) for number in numbers]


def test_a_grid_has_all_combinations_once() -> None:
    found = all_of(Grid(SPACE))
    assert len(found) == 22
    assert len({(p["a"], p["b"]) for p in found}) == 22
    assert all_of(Grid(SPACE, 3)) == found[:3]


def test_a_grid_needs_ends() -> None:
    with pytest.raises(ValueError, match=r"a: log:0.0001:1.0 has no end.*--random N"):
        Grid(WIDE)


def test_there_may_be_too_many() -> None:
    space = make_space({"a": "1:1000", "b": "1:1000"})
    with pytest.raises(ValueError, match=r"1,000,000 trials are too many.*--random"):
        Grid(space)
    assert Random(space, 5, 1).count == 5


@pytest.mark.parametrize("space", [SPACE, WIDE])
def test_chance_depends_on_the_seed_alone(space: Any) -> None:
    found = all_of(Random(space, 8, 1))
    assert found == all_of(Random(space, 8, 1)) != all_of(Random(space, 8, 2))
    # asked in any order, each is the same
    assert Random(space, 8, 1).params(5, (), minimize=False) == found[5]


def test_chance_draws_nothing_twice_where_there_is_enough() -> None:
    found = all_of(Random(SPACE, 20, 3))
    assert len({(p["a"], p["b"]) for p in found}) == 20
    assert Random(SPACE, 100, 3).count == 22


@pytest.mark.parametrize("count", [0, -1, 100_001, True, 1.5])
def test_a_wrong_number_of_trials(count: Any) -> None:
    with pytest.raises(ValueError, match=r"number of trials|too many"):
        Random(SPACE, count, 1)


@pytest.mark.parametrize(
    "sampling",
    [
        Grid(SPACE),
        Grid(SPACE, 4),
        Random(WIDE, 7, 5),
        Listed([{"a": 1}, {"a": 2, "b": "x"}]),
        pytest.param("bayesian", marks=needs_optuna),
    ],
    ids=["grid", "short grid", "random", "list", "bayesian"],
)
def test_json_round_trip(sampling: Any) -> None:
    if sampling == "bayesian":
        sampling = Bayesian(WIDE, 4, 1)
    trials = sampling.trials if isinstance(sampling, Listed) else []
    again = sampling_from(sampling.to_json(), trials)
    assert again == sampling
    assert all_of(again) == all_of(sampling)


def test_an_unknown_kind_is_refused() -> None:
    said = {"kind": "luck", "space": SPACE.to_json()}
    with pytest.raises(ValueError, match="'luck' is no way of sampling"):
        sampling_from(said, [])


def test_what_a_user_may_give() -> None:
    assert make_sampling({"a": [1, 2]}) == Grid(make_space({"a": [1, 2]}))
    assert isinstance(make_sampling({"a": [1]}, random=3, seed=1), Random)
    assert make_sampling([{"a": 1}, {"a": 2}]) == Listed([{"a": 1}, {"a": 2}])


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (({"a": [1]}, {"random": 1, "bayesian": 1}), ValueError, "not both"),
        (({"a": [1]}, {"random": 1, "seed": "x"}), ValueError, "seed must be an int"),
        (([{"a": 1}], {"random": 1}), ValueError, "leave random out"),
        (([], {}), ValueError, "number of trials must be an integer >= 1, got 0"),
        (([{}], {}), TypeError, "trial 1 must be a dict of params"),
        (([{"a": 1}, [2]], {}), TypeError, "trial 2 must be a dict of params"),
    ],
)
def test_what_a_user_may_not_give(args: Any, error: type[Exception], text: str) -> None:
    space, options = args
    with pytest.raises(error, match=text):
        make_sampling(space, **options)


@needs_optuna
def test_past_trials_make_others_promising() -> None:
    """What is tried late is mostly good, and each value is one of the space."""
    space = make_space({"a": "0:1:0.05", "b": "log:1e-4:1", "c": ["x", "y"]})
    past: list[tuple[dict[str, Any], float | None]] = []
    sampling = Bayesian(space, 30, 1)
    for number in range(sampling.count):
        params = sampling.params(number, past, minimize=True)
        assert params["a"] in [n / 20 for n in range(21)]
        assert params["c"] in ("x", "y")
        loss = (params["a"] - 0.3) ** 2 + params["b"] + (params["c"] == "x")
        past.append((params, None if number % 7 == 6 else loss))
    late = [params for params, _ in past[20:]]
    assert sum(params["c"] == "y" for params in late) >= 8
    assert min(loss for _, loss in past if loss is not None) < 0.05


@needs_optuna
def test_what_optuna_logs_of_it_is_seen_by_nobody(
    run_dir: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither on the terminal, nor in the sweep's run, nor in that of the program."""
    sampling = Bayesian(make_space({"a": "0:1:0.05"}), 3, 1)
    with start_run("sweep", level="DEBUG") as run, run.child_run() as child:
        sampling.params(0, [], minimize=True)
        logging.getLogger("optuna").warning("of the program's own")
    lines = [e["msg"] for r in (run, child) for e in r.entries("logs")]
    assert lines == ["of the program's own"]
    assert "study" not in capsys.readouterr().err


@needs_optuna
def test_each_kind_that_can_be_searched_is_found_again() -> None:
    """What was tried is told to Optuna as it was suggested."""
    from mlog.launch.sweep_domains import Distribution

    space = make_space(
        {
            "a": Distribution("uniform", (0.0, 1.0)),
            "b": Distribution("loguniform", (-3.0, 0.0)),
            "c": Distribution("quniform", (0, 10, 2)),
            "d": "1:9",
        }
    )
    past: list[tuple[dict[str, Any], float | None]] = []
    sampling = Bayesian(space, 25, 4)
    for number in range(sampling.count):
        params = sampling.params(number, past, minimize=False)
        assert params["c"] % 2 == 0
        past.append((params, params["a"] + params["b"] + params["c"] + params["d"]))
    assert max(value for _, value in past if value is not None) > 17


@needs_optuna
def test_bayesian_search_needs_ends() -> None:
    with pytest.raises(ValueError, match=r"a: Bayesian sampling knows.*got normal"):
        Bayesian(make_space({"a": "normal:0:1"}), 3, 1)


def test_without_optuna_the_way_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "mlog-runs\[sweep\]"'):
        Bayesian(SPACE, 3, 1)
