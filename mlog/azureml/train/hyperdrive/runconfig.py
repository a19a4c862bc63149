"""`HyperDriveConfig`: a sweep with all that `experiment.submit` has to know of it."""

import enum
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlog.azureml.core.script_run_config import ScriptRunConfig
from mlog.azureml.core.submitting import properties_of
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.train.hyperdrive.exceptions import HyperDriveConfigException
from mlog.azureml.train.hyperdrive.policy import EarlyTerminationPolicy
from mlog.azureml.train.hyperdrive.run import HyperDriveRun
from mlog.azureml.train.hyperdrive.sampling import HyperParameterSampling
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_process import start_sweep
from mlog.run.api import Run
from mlog.run.family import handle

__all__ = ["HyperDriveConfig", "HyperDriveRunConfig", "PrimaryMetricGoal"]

MAX_MINUTES = 10_080
"""How long a sweep may take unless it is told otherwise: a week, as in v1."""


class PrimaryMetricGoal(enum.Enum):
    """What is better."""

    MAXIMIZE = "MAXIMIZE"
    MINIMIZE = "MINIMIZE"

    @staticmethod
    def from_str(goal: str) -> "PrimaryMetricGoal":
        """Return the goal of that name, in any case."""
        try:
            return PrimaryMetricGoal(goal.upper())
        except (ValueError, AttributeError) as exc:
            raise HyperDriveConfigException(
                f"a goal is MAXIMIZE or MINIMIZE, got {goal!r}"
            ) from exc


class HyperDriveConfig:
    """A sweep to submit, with the SDK's arguments in their order.

    Attributes:
        run_config: The script.
        plan: What is done.
    """

    def __init__(
        self,
        hyperparameter_sampling: HyperParameterSampling,
        primary_metric_name: str,
        primary_metric_goal: PrimaryMetricGoal,
        max_total_runs: int,
        max_concurrent_runs: int | None = None,
        max_duration_minutes: float | None = MAX_MINUTES,
        policy: EarlyTerminationPolicy | None = None,
        estimator: Any = None,
        run_config: ScriptRunConfig | None = None,
        resume_from: Any = None,
        resume_child_runs: Any = None,
        pipeline: Any = None,
        debug_flag: Any = None,
        custom_run_id: str | None = None,
    ) -> None:
        """Describe a sweep; nothing is started.

        Args:
            hyperparameter_sampling: What is tried.
            primary_metric_name: Metric that the script logs, by which runs are
                compared.
            primary_metric_goal: What is better.
            max_total_runs: How many runs at most.
            max_concurrent_runs: How many at once. None: as many as there are cores.
            max_duration_minutes: After which the sweep is ended.
            policy: When a run is ended early. None: never.
            estimator, run_config: The script, as a `ScriptRunConfig`; one of them.
            resume_from, resume_child_runs, pipeline: Must be None.
            debug_flag: Not used.
            custom_run_id: Id of the sweep's run.

        Raises:
            HyperDriveConfigException: An argument is wrong.
            ImportError: Bayesian sampling is asked for, and Optuna is not installed.
        """
        _refuse(
            resume_from=resume_from,
            resume_child_runs=resume_child_runs,
            pipeline=pipeline,
        )
        _check(
            "hyperparameter_sampling", hyperparameter_sampling, HyperParameterSampling
        )
        _check("primary_metric_goal", primary_metric_goal, PrimaryMetricGoal)
        if policy is not None:
            _check("policy", policy, EarlyTerminationPolicy)
        if (estimator is None) == (run_config is None):
            raise HyperDriveConfigException("give the script as run_config")
        script = run_config if run_config is not None else estimator
        _check("run_config", script, ScriptRunConfig)
        self.run_config: ScriptRunConfig = script
        self._run_id = custom_run_id
        try:
            self.plan = Plan(
                config=script,
                sampling=hyperparameter_sampling.limited(max_total_runs),
                metric=primary_metric_name,
                minimize=primary_metric_goal is PrimaryMetricGoal.MINIMIZE,
                rule=policy.rule if policy is not None else None,
                jobs=max_concurrent_runs or min(os.cpu_count() or 1, max_total_runs),
                seconds=_seconds(max_duration_minutes),
            )
        except (ValueError, TypeError) as exc:
            raise HyperDriveConfigException(str(exc)) from exc

    def __repr__(self) -> str:
        """Return script, metric and number of runs."""
        plan = self.plan
        goal = "minimize" if plan.minimize else "maximize"
        return (
            f"<HyperDriveConfig {self.run_config!r}: {plan.sampling.count} runs, "
            f"{goal} {plan.metric}>"
        )

    def submitted_to(
        self,
        workspace: Workspace,
        experiment: str,
        tags: Mapping[str, str] | None,
        parent: Run | None,
        run_id: str | None = None,
    ) -> HyperDriveRun:
        """Start the sweep, and return while it goes on; see `Experiment.submit`."""
        texts = {key: str(value) for key, value in (tags or {}).items()}
        plan = replace(self.plan, tags=texts)
        plan.config.check()
        self.run_config.placed(workspace)
        started = start_sweep(
            plan,
            experiment=experiment,
            root=workspace.root,
            parent=parent,
            properties=properties_of(self.run_config),
            run_id=run_id or self._run_id,
        )
        run = handle(HyperDriveRun, started.folder)
        run.belongs_to(workspace)
        run._hyperdrive_config = self
        return run


class HyperDriveRunConfig(HyperDriveConfig):
    """Former name of `HyperDriveConfig`, with the script first."""

    def __init__(
        self,
        estimator: Any,
        hyperparameter_sampling: HyperParameterSampling,
        primary_metric_name: str,
        primary_metric_goal: PrimaryMetricGoal,
        max_total_runs: int,
        max_concurrent_runs: int | None = None,
        max_duration_minutes: float | None = MAX_MINUTES,
        policy: EarlyTerminationPolicy | None = None,
    ) -> None:
        """Describe a sweep; see `HyperDriveConfig`."""
        super().__init__(
            hyperparameter_sampling,
            primary_metric_name,
            primary_metric_goal,
            max_total_runs,
            max_concurrent_runs,
            max_duration_minutes,
            policy,
            run_config=estimator,
        )


def _check(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise HyperDriveConfigException(
            f"{name} must be a {kind.__name__}, got {value!r}"
        )


def _refuse(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise HyperDriveConfigException(
                f"{name} is not supported; leave it out (`mlog sweep --resume RUN` "
                "goes on with a sweep that was ended)"
            )


def _seconds(minutes: float | None) -> float | None:
    if minutes is None:
        return None
    if not isinstance(minutes, int | float) or isinstance(minutes, bool):
        raise TypeError(f"max_duration_minutes must be a number, got {minutes!r}")
    return minutes * 60
