"""Bayesian sampling: the only file that imports Optuna.

A study is made anew for each trial from what has ended by then: nothing is kept but the
runs themselves, so that a killed sweep has nothing to lose.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlog import context
from mlog.launch.sweep_domains import (
    Choice,
    Distribution,
    Domain,
    Past,
    Range,
    Value,
    multiple,
    text_of,
)
from mlog.launch.sweep_space import Space
from mlog.run.recorder import Silent

__all__ = ["check_space", "suggest"]

_KNOWN = ("uniform", "log", "loguniform", "quniform")


def check_space(space: Space) -> None:
    """Refuse what cannot be searched.

    Raises:
        ValueError: A domain is of a kind that has no ends.
        ImportError: Optuna is not installed.
    """
    for name, domain in space.domains.items():
        if isinstance(domain, Distribution) and domain.kind not in _KNOWN:
            raise ValueError(
                f"{name}: Bayesian sampling knows choices, ranges, "
                f"{', '.join(_KNOWN)}; got {domain.kind}"
            )
    _optuna()


def suggest(space: Space, past: Past, *, minimize: bool, seed: int) -> dict[str, Value]:
    """Return the params that are tried next.

    Args:
        space: Where they are chosen from.
        past: What has ended, with its value.
        minimize: Whether a lesser value is better.
        seed: For what is left to chance.
    """
    optuna = _optuna()
    forms = {name: _form(optuna, domain) for name, domain in space.domains.items()}
    with _quiet(optuna):
        study = optuna.create_study(
            direction="minimize" if minimize else "maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
        for params, value in past:
            inner = _inner(space, params)
            if value is not None and inner is not None:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=inner, distributions=forms, value=value
                    )
                )
        found = study.ask(forms).params
    return {name: _outer(domain, found[name]) for name, domain in space.domains.items()}


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as exc:
        raise ImportError(
            'Bayesian sampling needs Optuna: pip install "mlog-runs[sweep]"'
        ) from exc
    return optuna


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from telling of each study, and leave it as it was.

    Its level keeps the lines from the terminal, but runs have levels of their own.
    """
    level, run = optuna.logging.get_verbosity(), context.scope().run
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    context.set_receiver(Silent())
    try:
        yield
    finally:
        context.set_receiver(run)
        optuna.logging.set_verbosity(level)


def _form(optuna: Any, domain: Domain) -> Any:
    """Return the distribution that Optuna searches: of places where there are some."""
    kinds = optuna.distributions
    match domain:
        case Choice():
            return kinds.CategoricalDistribution(list(range(len(domain))))
        case Range():
            return kinds.IntDistribution(0, len(domain) - 1)
        case Distribution("quniform", (low, high, q)):
            return kinds.IntDistribution(round(low / q), round(high / q))
        case Distribution(kind, (low, high)):
            return kinds.FloatDistribution(low, high, log=kind == "log")
    raise ValueError(f"{domain} cannot be searched")


def _outer(domain: Domain, found: Any) -> Value:
    """Return the value that Optuna's stands for."""
    match domain:
        case Choice() | Range():
            return domain.at(found)
        case Distribution("quniform", (_, _, q)):
            return multiple(found, q)
        case Distribution("loguniform"):
            return math.exp(found)
    return found


def _inner(space: Space, params: Mapping[str, Value]) -> dict[str, Any] | None:
    """Return what Optuna calls the params of a trial; None where they are no such."""
    try:
        return {
            name: _place(domain, params[name]) for name, domain in space.domains.items()
        }
    except (KeyError, ValueError, TypeError):
        return None


def _place(domain: Domain, value: Value) -> Any:
    match domain:
        case Choice(values):
            return list(map(text_of, values)).index(text_of(value))
        case Range():
            return round((value - domain.at(0)) / float(domain.step))
        case Distribution("quniform", (_, _, q)):
            return round(value / q)
        case Distribution("loguniform"):
            return math.log(value)
    return value
