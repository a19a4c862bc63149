"""Which parts of the SDK a machine alone cannot do, and what to use instead."""

import opcode
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from mlog.azureml.exceptions import UserErrorException

__all__ = ["NotLocalError", "Partly", "instead", "needs_azure", "no_such_name"]

_SCRIPTS = "run scripts with ScriptRunConfig and experiment.submit"
_SERVE = "load the model from Model(...).download() in a server of your own"

_OUT_OF_REACH = {
    "accel": _SERVE,
    "automl": "fit the models you want to compare in child runs (run.child_run)",
    "contrib": _SCRIPTS,
    "core.image": _SERVE,
    "core.keyvault": "read secrets from environment variables",
    "core.linked_service": "read the data from a local path",
    "core.private_endpoint": "leave it out: nothing listens on a network",
    "core.webservice": _SERVE,
    "datadrift": "log the comparison of two data sets with run.log_table",
    "dataprep": "read data with pandas, from the path that a Dataset gives",
    "explain": "use the interpret or shap package, and run.log_table its result",
    "fsspec": "read the data from a local path",
    "interpret": "use the interpret or shap package, and run.log_table its result",
    "mlflow": 'send the run to an MLflow server: start_run(remote="mlflow+https://…"), '
    "or use mlflow itself",
    "monitoring": _SERVE,
    "opendatasets": "download the data once and read it from a local path",
    "pipeline": "call the steps one after the other, each in a run.child_run, or "
    + _SCRIPTS,
    "responsibleai": "use the responsibleai package, and run.log_table its result",
    "tensorboard": "read run.history(name)",
    "train.automl": "fit the models you want to compare in child runs (run.child_run)",
    "train.dnn": _SCRIPTS,
    "train.estimator": _SCRIPTS,
    "train.sklearn": _SCRIPTS,
}


def instead(name: str) -> str | None:
    """Return what to use instead of a module that is out of reach.

    Args:
        name: Without the leading "azureml."; a module below one of the table counts.

    Returns:
        A phrase for an error message; None for a module that is within reach, or
        that nobody has heard of.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if found := _OUT_OF_REACH.get(".".join(parts[:end])):
            return found
    return None


class NotLocalError(UserErrorException, AttributeError):
    """A part that only a cloud had was asked for; `hasattr` says that it is not there."""


class Partly:
    """Base of a class of which the SDK had more: the rest says what to use instead."""

    _beyond: ClassVar[Mapping[str, str]] = {}
    """Names of what is out of reach, and the advice for it."""

    if not TYPE_CHECKING:  # else every attribute would seem to be there

        def __getattr__(self, name: str) -> Any:
            """Raise: with the advice, where the SDK had something of this name."""
            kind = type(self).__name__
            advice = type(self)._beyond.get(name)
            if advice is None:
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            raise NotLocalError(
                f"{kind}.{name} needs Azure and is not there locally; {advice}"
            )


def needs_azure(what: str, advice: str) -> NoReturn:
    """Raise because something is out of reach.

    Args:
        what: The call, as a user wrote it.
        advice: What to use instead.

    Raises:
        UserErrorException: Always.
    """
    raise UserErrorException(f"{what} needs Azure and is not there locally; {advice}")


def no_such_name(name: str, advice: str | None) -> NoReturn:
    """Raise in the `__getattr__` of a module, for a name that is out of reach.

    Args:
        name: With its module.
        advice: What to use instead.

    Raises:
        ImportError: It is being imported. `from … import …` would lose the text of an
            AttributeError.
        NotLocalError: It is looked at in another way, perhaps by `hasattr`, which lets
            an ImportError through.
    """
    text = f"{name} needs Azure and has no local counterpart; {advice}"
    if _is_import():
        raise ImportError(text, name=name)
    raise NotLocalError(text)


def _is_import() -> bool:
    """Whether the module's `__getattr__`, two calls up, was called by an import."""
    asks = sys._getframe(3)
    if asks.f_code.co_name == "_handle_fromlist":  # of importlib, for packages
        return True
    return asks.f_code.co_code[asks.f_lasti] == opcode.opmap["IMPORT_FROM"]
