"""What a sweep is: a script, which params it is run with, and what counts as better.

A plan is kept in its run as the artifact `sweep.json`, so that another process can go on
with it. Secrets are taken out before; a plan that had some cannot be gone on with.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from mlog.errors import MlogError
from mlog.launch.config import ScriptRunConfig
from mlog.launch.environments import Environment
from mlog.launch.submit import definition_of
from mlog.launch.sweep_domains import Value, text_of
from mlog.launch.sweep_sampling import Listed, Sampling, sampling_from
from mlog.launch.sweep_stop import Rule, rule_from, rule_to
from mlog.redaction import Redactor

__all__ = ["PLAN", "Passing", "Plan", "bare", "title_of"]

PLAN = "sweep.json"
"""Artifact of the sweep's run with its plan."""

Passing: TypeAlias = Literal["arguments", "variables"]
"""How a script gets its params, where its command line does not say."""

_PLACE = re.compile(r"\{([^\s{}]+)\}")
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""What argparse takes for a number. Source: `argparse.ArgumentParser`, 3.11."""

_SHORT = re.compile(r"-[^-]")
_MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Plan:
    """One sweep.

    Attributes:
        config: What is run, without params.
        sampling: Which trials there are.
        metric: By which they are compared. None: they are not.
        minimize: Whether a lesser value is better.
        rule: When a trial is ended early. None: never.
        jobs: How many trials run at once.
        passing: "arguments": `--name value` each; "variables": environment variables.
            A param that the command line names as `{name}` goes there, and only there.
        seconds: After which the whole sweep is ended. None: no limit.
        tags: Of the sweep and of each trial.
    """

    config: ScriptRunConfig
    sampling: Sampling
    metric: str | None = None
    minimize: bool = True
    rule: Rule | None = None
    jobs: int = 1
    passing: Passing = "arguments"
    seconds: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            ValueError, TypeError: Something does not.
        """
        if self.metric is not None and not (
            isinstance(self.metric, str) and self.metric
        ):
            raise TypeError(f"metric must be a name, got {self.metric!r}")
        if self.rule is not None and self.metric is None:
            raise ValueError(
                f"{self.rule.name} compares trials by a metric; name one (metric)"
            )
        if not _is_number(self.jobs, int) or self.jobs < 1:
            raise ValueError(f"jobs must be an integer >= 1, got {self.jobs!r}")
        if self.passing not in ("arguments", "variables"):
            raise ValueError(
                f"passing must be 'arguments' or 'variables', got {self.passing!r}"
            )
        if self.seconds is not None and not (
            _is_number(self.seconds, int | float) and self.seconds > 0
        ):
            raise ValueError(f"seconds must be > 0 or None, got {self.seconds!r}")

    # --- a trial -------------------------------------------------------------------

    def config_for(self, params: Mapping[str, Value]) -> ScriptRunConfig:
        """Return what is run for one trial."""
        texts = {bare(name): text_of(value) for name, value in params.items()}
        config = copy.copy(self.config)
        command = config.command
        if isinstance(command, str):
            config.command = _filled(command, texts)
            return config
        line = config.arguments if command is None else command
        filled = [_filled(item, texts) for item in line]
        if self.passing == "arguments":
            for name in self._unplaced(params):
                filled += _option(name, text_of(params[name]))
        if command is None:
            config.arguments = filled
        else:
            config.command = filled
        return config

    def variables_for(self, params: Mapping[str, Value]) -> dict[str, str]:
        """Return the environment variables of one trial."""
        if self.passing != "variables" and not isinstance(self.config.command, str):
            return {}
        return {bare(name): text_of(params[name]) for name in self._unplaced(params)}

    def _unplaced(self, params: Mapping[str, Value]) -> list[str]:
        """Return the names of params that the command line has no place for."""
        line = self.config.command or self.config.arguments
        items = [line] if isinstance(line, str) else line
        placed = {name for item in items for name in _PLACE.findall(item)}
        return [name for name in params if bare(name) not in placed]

    # --- JSON ----------------------------------------------------------------------

    def encode(self, redactor: Redactor | None = None) -> bytes:
        """Return it as JSON, without the secrets that a redactor finds."""
        text = orjson.dumps(self._to_json(), option=orjson.OPT_NON_STR_KEYS)
        said = orjson.loads(text)  # as it is read again, to be compared
        clean = said if redactor is None else _clean(said, redactor)
        clean["redacted"] = clean != said
        return orjson.dumps(clean)

    @classmethod
    def decode(cls, text: bytes) -> "Plan":
        """Return the plan in JSON that `encode` has made.

        Raises:
            MlogError: There are no secrets in it that it had, or it is no plan.
            FileNotFoundError: The source folder is gone.
        """
        try:
            said = orjson.loads(text)
            redacted = bool(said["redacted"])
        except (ValueError, KeyError, TypeError) as exc:
            raise MlogError(f"{PLAN} is no plan of a sweep: {exc!r}") from exc
        if redacted:
            raise MlogError(
                "the sweep was given secrets, which are not kept, so that nobody can "
                "go on with it; let the script read them from environment variables "
                "or a file"
            )
        try:
            return cls._from_json(said)
        except (ValueError, KeyError, TypeError) as exc:
            raise MlogError(f"{PLAN} is no plan of a sweep: {exc}") from exc

    def _to_json(self) -> dict[str, Any]:
        sampling = self.sampling
        trials = list(sampling.trials) if isinstance(sampling, Listed) else []
        return {
            "format": 1,
            "config": {
                **definition_of(self.config),
                "azureml": self.config.azureml,
                "runs_in": self.config.runs_in.encoded(),
                "variables": self.config.variables,
            },
            "sampling": sampling.to_json(),
            "trials": trials,
            "metric": self.metric,
            "goal": "minimize" if self.minimize else "maximize",
            "stop": None if self.rule is None else rule_to(self.rule),
            "jobs": self.jobs,
            "passing": self.passing,
            "seconds": self.seconds,
            "tags": dict(self.tags),
        }

    @classmethod
    def _from_json(cls, said: Mapping[str, Any]) -> "Plan":
        rule = said["stop"]
        return cls(
            config=_config_from(said["config"]),
            sampling=sampling_from(said["sampling"], said["trials"]),
            metric=said["metric"],
            minimize=said["goal"] == "minimize",
            rule=None if rule is None else rule_from(rule),
            jobs=said["jobs"],
            passing=said["passing"],
            seconds=said["seconds"],
            tags=said["tags"],
        )

    def summary(self) -> dict[str, Any]:
        """Return what the run says of it in a few words."""
        said = self._to_json()
        keys = ("metric", "goal", "stop", "jobs", "passing", "seconds")
        kind = said["sampling"]["kind"]
        found = {"sampling": kind, "trials": self.sampling.count}
        found |= {key: said[key] for key in keys if said[key] is not None}
        seed = said["sampling"].get("seed")
        return found if seed is None else {**found, "seed": seed}


def bare(name: str) -> str:
    """Return the name of a param without the dashes of an option."""
    return name.lstrip("-") or name


def title_of(params: Mapping[str, Value]) -> str:
    """Return the name of a trial for people."""
    text = " ".join(f"{bare(name)}={text_of(value)}" for name, value in params.items())
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"


def _option(name: str, text: str) -> list[str]:
    """Return a param as an option of a command line.

    A value that begins with a dash would be taken for an option itself, by argparse and
    others, if it were a word of its own; only numbers without an exponent are not.
    """
    option = name if name.startswith("-") else f"--{name}"
    if not text.startswith("-") or _NEGATIVE.fullmatch(text):
        return [option, text]
    return [f"{option}{text}" if _SHORT.fullmatch(option) else f"{option}={text}"]


def _filled(item: str, texts: Mapping[str, str]) -> str:
    """Put values in the places that an item of a command line names."""
    return _PLACE.sub(lambda match: texts.get(match[1], match[0]), item)


def _clean(said: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    clean: dict[str, Any] = redactor.fields(said)
    config = clean["config"]
    for key in ("arguments", "command"):
        if isinstance(config[key], list):
            config[key] = redactor.argv(said["config"][key])
    return clean


def _config_from(said: Mapping[str, Any]) -> ScriptRunConfig:
    """Return what was to be run."""
    return ScriptRunConfig(
        said["source_directory"],
        said["script"],
        said["arguments"] or None,
        environment=Environment.decoded(said["runs_in"]).with_variables(
            said["variables"]
        ),
        max_run_duration_seconds=said["max_run_duration_seconds"],
        command=said["command"],
        azureml=said["azureml"],
        in_place=said["in_place"],
        memory_limit=said["memory_limit"],
    )


def _is_number(value: object, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
