"""scikit-learn, with the real library."""

import pickle
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.sklearn import watch

pytest.importorskip("sklearn")

from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # allows it
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, Y = load_diabetes(return_X_y=True)


def test_a_fit_is_recorded_with_time_params_and_scores() -> None:
    with mlog.start_run("e") as run:
        model = watch(Ridge(alpha=0.5), test=(X[:100], Y[:100])).fit(X[100:], Y[100:])
    found = run.get_metrics()
    assert found["train/score"] == model.score(X[100:], Y[100:])
    assert found["test/score"] == model.score(X[:100], Y[:100])
    assert found["fit/seconds"] > 0
    assert run.params["Ridge"]["alpha"] == 0.5


def test_the_estimator_is_as_it_was_afterwards() -> None:
    """It can be pickled, cloned and fitted again, which is not recorded."""
    model = watch(Ridge())
    assert "fit" in vars(model)
    model.fit(X, Y)
    assert set(vars(model)) == set(vars(Ridge().fit(X, Y)))
    assert pickle.loads(pickle.dumps(model)).predict(X[:1]) == model.predict(X[:1])


def test_a_fit_gives_what_it_gives_unwatched() -> None:
    assert (watch(Ridge()).fit(X, Y).coef_ == Ridge().fit(X, Y).coef_).all()


def test_a_pipeline_is_watched_as_a_whole() -> None:
    with mlog.start_run("e") as run:
        watch(make_pipeline(StandardScaler(), Ridge(alpha=2.0))).fit(X, Y)
    assert run.params["Pipeline"]["ridge__alpha"] == 2.0
    assert run.params["Pipeline"]["ridge"] == "Ridge(alpha=2.0)"


def test_every_candidate_of_a_search_is_a_child() -> None:
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=3)
    with mlog.start_run("e") as run:
        watch(search).fit(X, Y)
    children = {child.tags["candidate"]: child for child in run.get_children()}
    assert [children[str(i)].params for i in range(3)] == [
        {"alpha": 0.1},
        {"alpha": 1.0},
        {"alpha": 10.0},
    ]
    for place, child in enumerate(children[str(i)] for i in range(3)):
        found = child.get_metrics()
        assert found["mean_test_score"] == search.cv_results_["mean_test_score"][place]
        splits = [search.cv_results_[f"split{i}_test_score"][place] for i in range(3)]
        assert found["split/test_score"] == splits
    assert run.get_metrics("best/score") == {"best/score": search.best_score_}


def test_rounds_of_a_halving_search_are_told() -> None:
    search = HalvingRandomSearchCV(
        Ridge(), {"alpha": [0.1, 1.0, 10.0]}, min_resources=100, random_state=0
    )
    with mlog.start_run("e") as run:
        watch(search).fit(X, Y)
    rounds = [child.get_metrics()["iter"] for child in run.get_children()]
    assert sorted(rounds) == sorted(search.cv_results_["iter"])


def test_a_failed_fit_is_a_failed_run_and_raises_as_before() -> None:
    model = watch(Ridge(alpha=-1.0))
    with pytest.raises(ValueError, match="alpha"):
        model.fit(X, Y)
    assert mlog.open_run("latest").status == "Failed"


def test_a_score_that_cannot_be_had_warns_and_the_fit_goes_on() -> None:
    class Odd(Ridge):  # type: ignore[misc]  # scikit-learn has no types
        def score(self, *args: Any) -> float:
            raise ValueError("no score today")

    with mlog.start_run("e"), pytest.warns(MlogWarning, match="no score today"):
        model = watch(Odd()).fit(X, Y)
    assert model.coef_ is not None


def test_only_estimators_are_watched() -> None:
    with pytest.raises(TypeError, match=r"fit and get_params; got dict"):
        watch({})
    with pytest.raises(TypeError, match=r"got the class Ridge"):
        watch(Ridge)
    assert "fit" in vars(Ridge)
