"""Servers and a run that the tests of sinks share; both live for the whole session."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from mlog.shipping.sink import Sink
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import parse_route
from tests.helpers import run_python
from tests.shipping.servers import clickhouse_server, mlflow_server
from tests.shipping.sinks.receiver import Receiver, receiver

OpenSink: TypeAlias = Callable[..., Sink]


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of ClickHouse's engine behind the shim."""
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture
def received() -> Iterator[Receiver]:
    """Give a server that keeps what it gets."""
    with receiver() as found:
        yield found


@pytest.fixture
def open_url() -> Iterator[OpenSink]:
    """Return what opens the sink of a URL; closed in the end."""
    opened: list[Sink] = []

    def open_(url: str, **env: str) -> Sink:
        opened.append(open_sink(parse_route(url, env=env).target))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close()


@pytest.fixture(scope="session")
def rich_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run, with a child, that has some of everything."""
    root = tmp_path_factory.mktemp("runs")
    done = run_python(_RICH, str(root), env={"MLOG_QUIET": "1"}, warnings="ignore")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


_RICH = """
import logging, sys
from pathlib import Path
import mlog

logger = logging.getLogger("train")
root = Path(sys.argv[1])
params = {"rate": 0.1, "layers": [64, 32], "name": "ridge", "deep": True, "none": None}
with mlog.start_run("rich run/α", name="first", dir=root, params=params,
                    tags={"stage": "draft", "odd=key": "v"}) as run:
    run.add_properties({"owner": "ada"})
    logger.info("begins", extra={"fold": 2})
    for step in range(700):
        logger.info(metric={"loss": 1 / (step + 1), "acc@5": step, "big": 2**60 + step},
                    step=step)
    for step, value in enumerate([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]):
        logger.info("odd", metric={"odd//value": value}, step=step - 2)
    logger.info(metric={"x" * 255: 1.5, "no step": 1})
    logger.info(metric={"loss": 0.25, "text": "done"}, step=700)
    run.log_list("list", [1, 2, 3])
    run.log_table("table", {"a": [1, 2], "b": [3, 4]})
    run.tag("stage", "final")
    run.display_name = "renamed"
    run.description = "Some words."
    for name in ("model.txt", "plots/50% #1 \\u00e9?.txt", "empty.bin"):
        path = root / "file"
        path.write_text("" if name == "empty.bin" else name)
        run.upload_file(name, str(path))
    run.register_model("ridge/v:1", "model.txt", tags={"kind": "linear"}, description="d")
    with run.child_run("kid") as child:
        child.log("acc", 1, step=3)
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("went wrong")
print(run.path)
"""
