"""Azure ML workspaces, which speak MLflow's tracking API.

    azureml://<region>.api.azureml.ms/mlflow/v2.0/subscriptions/…/workspaces/<name>
    azureml:        inside a job of the workspace, whose variables say the rest

The address is what a workspace shows as its MLflow tracking URI. Everything is as for
an MLflow server (see `mlog.shipping.sinks.mlflow`), but:

- The bearer token of each request is the target's, else `MLFLOW_TRACKING_TOKEN`, else
  one of `azure-identity` where that is installed.
- Where `MLFLOW_TRACKING_URI` is the address and `MLFLOW_RUN_ID` is set, we are a job:
  runs without a parent go into the job's own run, whose status the service sets itself.
- Artifacts and segments go into the storage of the workspace; see `azureml_files`.

Source: the wheel of azureml-mlflow 1.62; not tried against a real workspace.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlog.errors import MlogError
from mlog.http import Auth
from mlog.shipping.sink import Target
from mlog.shipping.sinks.azureml_files import WorkspaceStore
from mlog.shipping.sinks.mlflow import MlflowSink

__all__ = ["AzuremlSink", "open_sink"]

_SCOPES = {
    ".azure.cn": "https://management.chinacloudapi.cn/.default",
    ".azure.us": "https://management.usgovcloudapi.net/.default",
}
_SCOPE = "https://management.azure.com/.default"


def open_sink(target: Target) -> "AzuremlSink":
    """Make the sink of an `azureml:` target."""
    return AzuremlSink(target)


class AzuremlSink(MlflowSink):
    """Keeps runs of mlog as runs of a workspace. See the module."""

    def __init__(self, target: Target) -> None:
        """Prepare; nothing is sent.

        Raises:
            MlogError: There is no address of a workspace, or a parameter is none.
        """
        env = target.env
        own = _address(env.get("MLFLOW_TRACKING_URI", ""))
        url = _address(target.url) or own
        if not url:
            raise MlogError(
                "azureml: needs a workspace: azureml://<its MLflow tracking URI>, or "
                "MLFLOW_TRACKING_URI, which is set in a job"
            )
        job = env.get("MLFLOW_RUN_ID") if url == own else None
        target = replace(target, url=url)
        auth = _auth(target)
        store = WorkspaceStore(target, auth)
        super().__init__(target, auth=auth, job=job or None, store=store)


def _address(uri: str) -> str:
    """Return the address of a tracking URI; "" where it names no host."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return ""
    scheme = "https" if parts.scheme == "azureml" else parts.scheme
    path = parts.path.replace("/mlflow/v1.0/", "/mlflow/v2.0/").rstrip("/")
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def _auth(target: Target) -> Auth:
    host = urlsplit(target.url).hostname or ""
    scopes = (scope for end, scope in _SCOPES.items() if host.endswith(end))
    scope = next(scopes, _SCOPE)

    def headers() -> Mapping[str, str]:
        token = target.token() or target.env.get("MLFLOW_TRACKING_TOKEN")
        if not token:
            token = _credential().get_token(scope).token
        return {"authorization": f"Bearer {token}"}

    return headers


@lru_cache(maxsize=1)
def _credential() -> Any:
    """Return what gives tokens of the user, the machine or the cluster.

    Raises:
        MlogError: There is no library for it.
    """
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as exc:
        raise MlogError(
            "an Azure ML workspace needs a token: MLOG_REMOTE_TOKEN, "
            'MLFLOW_TRACKING_TOKEN, or pip install "mlog-runs[azure]"'
        ) from exc
    return DefaultAzureCredential()
