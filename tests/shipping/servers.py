"""Real servers for tests, found by environment variables or PATH; else a test is skipped.

| variable | what it names |
|---|---|
| `MLOG_TEST_MLFLOW` | the command `mlflow` of an environment with MLflow's server |
| `MLOG_TEST_CHDB` | a Python with `chdb-core` and `zstandard` |
| `MLOG_TEST_AZURITE` | the command `azurite-blob`, Azure's emulator of its storage |

All are environments of their own: their dependencies are no business of mlog's.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from time import monotonic

import httpx
import pytest

_START = 120.0
MLFLOW = os.environ.get("MLOG_TEST_MLFLOW") or shutil.which("mlflow")
CHDB = os.environ.get("MLOG_TEST_CHDB")
AZURITE = os.environ.get("MLOG_TEST_AZURITE") or shutil.which("azurite-blob")
_SHIM = Path(__file__).parent / "sinks" / "chdb_shim.py"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@contextmanager
def mlflow_server(
    folder: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run an MLflow tracking server on SQLite; give its address.

    Args:
        folder: For its data base, artifacts and log.
        *options: More of the command line.
        env: More variables.
    """
    if MLFLOW is None:
        pytest.skip("no MLflow: MLOG_TEST_MLFLOW names none, and PATH has none")
    port = _free_port()
    command = [
        *(MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--serve-artifacts"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", f"{folder}/artifacts"),
        *options,
    ]
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder, f"{url}/health", {**QUIET, **(env or {})}):
        yield url


@contextmanager
def clickhouse_server(folder: Path, *login: str) -> Iterator[str]:
    """Run ClickHouse's engine behind the shim; give its address.

    Args:
        folder: For its data.
        *login: User and password that it asks for; none: it asks for none.
    """
    if CHDB is None:
        pytest.skip("no ClickHouse: MLOG_TEST_CHDB names no Python with chdb-core")
    with subprocess.Popen(
        [CHDB, _SHIM, str(folder), *login],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def azurite_server(folder: Path) -> Iterator[str]:
    """Run Azure's emulator of its storage; give the address of a container to be made.

    Args:
        folder: For its data and log.
    """
    if AZURITE is None:
        pytest.skip("no Azurite: MLOG_TEST_AZURITE names none, and PATH has none")
    port = _free_port()
    command = [
        *(AZURITE, "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--location", str(folder), "--silent", "--disableTelemetry"),
    ]
    url = f"http://127.0.0.1:{port}/devstoreaccount1"
    with _running(command, folder, url, {}):
        yield f"{url}/azureml"


@contextmanager
def _running(
    command: list[str], folder: Path, url: str, env: Mapping[str, str]
) -> Iterator[None]:
    """Run a server as long as the block lasts, which begins when it answers at `url`."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, url, folder / "server.log")
            yield
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait until a server answers; fail with its log if it ends or takes too long."""
    end = monotonic() + _START
    while monotonic() < end:
        try:
            if httpx.get(url, trust_env=False).status_code < 500:
                return
        except httpx.HTTPError:
            pass
        try:
            process.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"no server: {log.read_text()[-2_000:]}")


def _free_port() -> int:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
