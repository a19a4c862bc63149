"""scikit-learn: one line that records a fit, or every candidate of a search.

model = mlog.sklearn.watch(Ridge(alpha=0.1)).fit(x, y)
mlog.sklearn.watch(GridSearchCV(Ridge(), grid)).fit(x, y)
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mlog.adapters import AdapterRun, plain_params
from mlog.errors import warn_once
from mlog.run.api import Run

__all__ = ["watch"]

E = TypeVar("E")

_MOST = 1_000
"""Candidates that become runs at most: those with the best ranks."""


def watch(
    estimator: E, *, run: Run | None = None, test: tuple[Any, Any] | None = None
) -> E:
    """Record the next fit of an estimator: its time, params and scores.

    Each candidate of `GridSearchCV`, `RandomizedSearchCV` and the halving searches
    becomes a child run with its params, scores and times. The estimator is watched for
    one fit and is then as it was, so that it can be copied and pickled. What goes wrong
    with the recording warns; the fit is none the worse.

    Args:
        estimator: Anything with `fit` and `get_params`: an estimator, a pipeline, a
            search.
        run: The run to log to. None: the active one at the fit, else one of its own,
            which ends with the fit.
        test: Features and target that the fitted estimator is scored on, besides those
            it was fitted with.

    Returns:
        The estimator itself.

    Raises:
        TypeError: It has no `fit` or no `get_params`, or is a class.
    """
    fit = getattr(estimator, "fit", None)
    has_params = callable(getattr(estimator, "get_params", None))
    if isinstance(estimator, type) or not callable(fit) or not has_params:
        what = "the class " if isinstance(estimator, type) else ""
        name = getattr(estimator, "__name__", type(estimator).__name__)
        raise TypeError(
            "watch takes an estimator of scikit-learn, with fit and get_params; "
            f"got {what}{name}"
        )
    given: Any = estimator
    given.fit = _watched(given, fit, AdapterRun(run), test)
    return estimator


def _watched(
    estimator: Any, fit: Callable[..., Any], own: AdapterRun, test: Any
) -> Callable[..., Any]:
    @functools.wraps(fit)
    def watched(*args: Any, **kwargs: Any) -> Any:
        vars(estimator).pop("fit", None)  # once, and nothing that cannot be pickled
        started = time.perf_counter()
        try:
            fitted = fit(*args, **kwargs)
        except BaseException as exc:
            _quietly(_keep_params, own, estimator)
            own.end(exc)
            raise
        seconds = time.perf_counter() - started
        _quietly(_record, own, estimator, seconds, (args, kwargs), test)
        own.end()
        return fitted

    return watched


def _quietly(record: Callable[..., None], *args: Any) -> None:
    try:
        record(*args)
    except Exception as exc:
        warn_once("sklearn", f"the fit could not be recorded: {exc!r}")


def _keep_params(own: AdapterRun, estimator: Any) -> None:
    name = type(estimator).__name__
    own.run.log_params({name: plain_params(estimator.get_params())})


def _record(
    own: AdapterRun, estimator: Any, seconds: float, fitted: Any, test: Any
) -> None:
    _keep_params(own, estimator)
    run, metrics = own.run, {"fit/seconds": seconds}
    results = getattr(estimator, "cv_results_", None)
    if isinstance(results, Mapping):
        metrics |= _record_search(run, estimator, results)
    elif callable(getattr(estimator, "score", None)):
        metrics |= _scores(estimator, fitted, test)
    run.log_metrics(metrics)


def _scores(estimator: Any, fitted: Any, test: Any) -> dict[str, float]:
    """Score what was fitted: R² of a regressor, accuracy of a classifier."""
    args, kwargs = fitted
    x = kwargs.get("X", args[0] if args else None)
    y = kwargs.get("y", args[1] if len(args) > 1 else None)
    found = {"train/score": float(estimator.score(x, y))}
    if test is not None:
        found["test/score"] = float(estimator.score(*test))
    return found


# --- searches ------------------------------------------------------------------------


def _record_search(
    run: Run, search: Any, results: Mapping[str, Any]
) -> dict[str, float]:
    """Make a child of each candidate; return what is to be said of the search."""
    places = list(range(len(results["params"])))
    rank = next((k for k in results if k.startswith("rank_test_")), None)
    if rank is not None:
        places = sorted(places, key=lambda place: float(results[rank][place]))
    if len(places) > _MOST:
        text = f"{len(places)} candidates: the best {_MOST:,} become runs"
        warn_once("candidates", text)
    for place in sorted(places[:_MOST]):
        _record_candidate(run, place, results)
    found = {"candidates": float(len(places))}
    if hasattr(search, "best_score_"):
        found["best/score"] = float(search.best_score_)
        found["best/candidate"] = float(search.best_index_)
    return found


def _record_candidate(run: Run, place: int, results: Mapping[str, Any]) -> None:
    child = run.child_run(f"candidate {place}")
    child.tag("candidate", place)
    child.log_params(plain_params(results["params"][place]))
    metrics: dict[str, Any] = {}
    splits: dict[tuple[str, int], Any] = {}
    for name, column in results.items():
        if name == "params" or name.startswith("param_"):
            continue
        value = column[place]
        if name.startswith("split"):
            number, _, what = name.removeprefix("split").partition("_")
            splits[what, int(number)] = value
        else:
            metrics[name] = value
    for (what, split), value in sorted(splits.items()):
        child.log_metrics({f"split/{what}": value}, split)
    child.log_metrics(metrics)
    child.complete()
