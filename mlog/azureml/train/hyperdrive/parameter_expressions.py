"""What a parameter may be, under the SDK's names.

Source of the formulas: Azure ML SDK v1, `azureml.train.hyperdrive`; q rounds to its
multiples, `log` takes the ends as natural logarithms.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from mlog.azureml.train.hyperdrive.exceptions import HyperDriveConfigException
from mlog.launch.sweep_domains import Distribution, Domain, Range
from mlog.launch.sweep_space import make_domain

__all__ = [
    "choice",
    "lognormal",
    "loguniform",
    "normal",
    "qlognormal",
    "qloguniform",
    "qnormal",
    "quniform",
    "randint",
    "uniform",
]


def choice(*options: Any) -> Domain:
    """One of some values: `choice(1, 2)`, `choice([1, 2])` or `choice(range(3))`."""
    values: Iterable[Any] = options
    if len(options) == 1 and isinstance(options[0], list | tuple | range):
        values = options[0]
    try:
        return make_domain("choice", list(values))
    except (ValueError, TypeError) as exc:
        raise HyperDriveConfigException(str(exc)) from exc


def randint(upper: int) -> Domain:
    """An integer from 0 to below `upper`."""
    if not isinstance(upper, int) or isinstance(upper, bool) or upper < 1:
        raise HyperDriveConfigException(
            f"upper of randint must be an integer >= 1, got {upper!r}"
        )
    try:
        return Range(Decimal(0), Decimal(upper - 1), Decimal(1))
    except ValueError as exc:
        raise HyperDriveConfigException(f"randint: {exc}") from exc


def uniform(min_value: float, max_value: float) -> Domain:
    """A number between two."""
    return _made("uniform", min_value, max_value)


def quniform(min_value: float, max_value: float, q: float) -> Domain:
    """A multiple of q near a number between two."""
    return _made("quniform", min_value, max_value, q)


def loguniform(min_value: float, max_value: float) -> Domain:
    """A number whose natural logarithm lies between two numbers."""
    return _made("loguniform", min_value, max_value)


def qloguniform(min_value: float, max_value: float, q: float) -> Domain:
    """A multiple of q near such a number."""
    return _made("qloguniform", min_value, max_value, q)


def normal(mu: float, sigma: float) -> Domain:
    """A number of a normal distribution."""
    return _made("normal", mu, sigma)


def qnormal(mu: float, sigma: float, q: float) -> Domain:
    """A multiple of q near such a number."""
    return _made("qnormal", mu, sigma, q)


def lognormal(mu: float, sigma: float) -> Domain:
    """A number whose natural logarithm has a normal distribution."""
    return _made("lognormal", mu, sigma)


def qlognormal(mu: float, sigma: float, q: float) -> Domain:
    """A multiple of q near such a number."""
    return _made("qlognormal", mu, sigma, q)


def _made(kind: str, *args: Any) -> Domain:
    for arg in args:
        if not isinstance(arg, int | float) or isinstance(arg, bool):
            raise HyperDriveConfigException(f"{kind} takes numbers, got {arg!r}")
    try:
        return Distribution(kind, args)
    except ValueError as exc:
        raise HyperDriveConfigException(f"{kind}: {exc}") from exc
