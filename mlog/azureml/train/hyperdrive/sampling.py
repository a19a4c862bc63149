"""How the values of parameters are chosen, under the SDK's names."""

import os
from collections.abc import Mapping
from typing import Any

from mlog.azureml.train.hyperdrive.exceptions import HyperDriveConfigException
from mlog.launch.sweep_domains import Distribution
from mlog.launch.sweep_sampling import Bayesian, Grid, Random, Sampling
from mlog.launch.sweep_space import Space, make_space

__all__ = [
    "BayesianParameterSampling",
    "GridParameterSampling",
    "HyperParameterSampling",
    "RandomParameterSampling",
]


class HyperParameterSampling:
    """Base of the ways of sampling.

    Attributes:
        parameter_space: Name of each parameter to what it may be. A name with dashes
            (`--alpha`) is the option as it is passed; without, it gets two.
    """

    def __init__(
        self,
        parameter_space: Mapping[str, Any],
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe what is tried.

        Args:
            parameter_space: See the attributes.
            properties: `seed` for what is left to chance.

        Raises:
            HyperDriveConfigException: A parameter cannot be understood.
        """
        self.parameter_space = dict(parameter_space)
        self._space = _checked(parameter_space)
        self._seed = (properties or {}).get("seed")
        self._check()

    def _check(self) -> None:
        """Refuse a space that this way of sampling cannot deal with."""

    def limited(self, most: int) -> Sampling:
        """Return the trials there are, so many at most.

        Raises:
            HyperDriveConfigException, ImportError: There cannot be any.
        """
        raise NotImplementedError

    @property
    def _chance(self) -> int:
        return int.from_bytes(os.urandom(4)) if self._seed is None else int(self._seed)


class RandomParameterSampling(HyperParameterSampling):
    """Values by chance."""

    def limited(self, most: int) -> Sampling:
        """Return so many trials."""
        return Random(self._space, most, self._chance)


class GridParameterSampling(HyperParameterSampling):
    """All combinations of choices."""

    def _check(self) -> None:
        for name, domain in self._space.domains.items():
            if isinstance(domain, Distribution):
                raise HyperDriveConfigException(
                    f"a grid is of choices; {name!r} is {domain.kind}"
                )

    def limited(self, most: int) -> Sampling:
        """Return all combinations, or the first so many."""
        return Grid(self._space, most)


class BayesianParameterSampling(HyperParameterSampling):
    """Values that what was tried before makes promising; needs Optuna."""

    def limited(self, most: int) -> Sampling:
        """Return so many trials."""
        try:
            return Bayesian(self._space, most, self._chance)
        except ValueError as exc:
            raise HyperDriveConfigException(str(exc)) from exc


def _checked(parameter_space: Mapping[str, Any]) -> Space:
    try:
        return make_space(parameter_space)
    except (ValueError, TypeError) as exc:
        raise HyperDriveConfigException(f"parameter_space: {exc}") from exc
