"""Runs on a real MLflow server: what is in the files is there, once, and nothing else."""

import json
import math
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from getpass import getuser
from pathlib import Path
from typing import Any

import httpx
import pytest

import mlog
from mlog.http import HttpClient, HttpError, Reply
from mlog.reader.state import read_state
from mlog.shipping.http import client_of
from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.sink import DELIVERED, Batch, RunEnd, SendResult, Sink, Target
from mlog.shipping.sinks import open_sink
from mlog.shipping.sinks.mlflow import MlflowSink
from mlog.shipping.sinks.mlflow_api import MlflowApi, MlflowError
from mlog.shipping.sinks.mlflow_artifacts import artifact_name
from mlog.shipping.sinks.mlflow_names import key_of, long_tag, name_of
from mlog.shipping.sinks.mlflow_runs import RemoteRuns, _parent_folder
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from tests.helpers import REPO, entries, run_python
from tests.shipping.servers import MLFLOW, QUIET, mlflow_server
from tests.shipping.sinks.helpers import batches_of, end_of, facts_of, ship

OpenSink = Callable[..., Sink]

GREATEST = 1.7976931348623157e308
"""What MLflow makes of an infinity."""


class Server:
    """A server as a test looks at it, by plain requests."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, trust_env=False, **options)

    def get(self, path: str, **query: Any) -> Any:
        reply = self._client.get(f"/api/2.0/mlflow/{path}", params=query)
        return reply.raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        reply = self._client.post(f"/api/2.0/mlflow/{path}", json=body)
        return reply.raise_for_status().json()

    def experiment(self, name: str) -> Any:
        return self.get("experiments/get-by-name", experiment_name=name)["experiment"]

    def runs(self, run: Path) -> list[Any]:
        """Return the server's runs, deleted ones, too, that have our id."""
        found = self.post(
            "runs/search",
            {
                "experiment_ids": [
                    self.experiment(read_state(run).experiment)["experiment_id"]
                ],
                "filter": f"tags.mlog.run_id = '{run.name}'",
                "run_view_type": "ALL",
            },
        )
        return list(found.get("runs", []))

    def run(self, run: Path) -> Any:
        (found,) = self.runs(run)
        return found

    def history(self, run: Path, key: str) -> list[tuple[int, int, Any]]:
        """Return step, milliseconds and value of each point, in order."""
        run_id = self.run(run)["info"]["run_id"]
        found = self.get("metrics/get-history", run_id=run_id, metric_key=key)
        points = found.get("metrics", [])
        return sorted((p["step"], p["timestamp"], p["value"]) for p in points)

    def artifact(self, run: Path, name: str) -> bytes:
        info = self.run(run)["info"]
        reply = self._client.get(
            "/get-artifact", params={"run_uuid": info["run_id"], "path": name}
        )
        return reply.raise_for_status().content

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def server(mlflow_url: str) -> Iterator[Server]:
    server = Server(mlflow_url)
    yield server
    server.close()


def texts(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in pairs}


def points_in(run: Path) -> dict[str, list[tuple[int, int, Any]]]:
    """Return what the files say, as MLflow should have it: name to its points."""
    stored = {"Infinity": GREATEST, "-Infinity": -GREATEST}
    found: dict[str, list[tuple[int, int, Any]]] = {}
    for entry in entries(run, "metrics"):
        seconds = entry["ts"][:-1] + "+00:00"
        milliseconds = int(
            _time(seconds) // 1_000  # the time of an entry has microseconds
        )
        for name, value in entry.get("metric", {}).items():
            kept = stored.get(value, value) if isinstance(value, str) else float(value)
            point = (entry.get("step", 0), milliseconds, kept)
            found.setdefault(name, []).append(point)
    return {name: sorted(points) for name, points in found.items()}


def _time(text: str) -> int:
    from datetime import UTC, datetime, timedelta

    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


@pytest.fixture(scope="session")
def shipped(mlflow_url: str, rich_run: Path) -> Path:
    """Ship the rich run and its child, the child first; return the run's folder."""
    sink = open_sink(parse_route(f"mlflow+{mlflow_url}", env={}).target)
    for folder in sorted(rich_run.parent.iterdir(), reverse=True):
        assert {r.outcome for r in ship(folder, sink)} == {"delivered"}
        assert [r.rejected for r in ship(folder, sink) if r.rejected] == []
    sink.close()
    return rich_run


# --- what arrives --------------------------------------------------------------------


def test_every_point_arrives_with_its_own_time_and_step(
    server: Server, shipped: Path
) -> None:
    """Compared entry by entry with the files; sent twice, each is there once."""
    expected = points_in(shipped)
    assert {"loss", "acc@5", "odd//value", "x" * 255} <= expected.keys()
    for name, points in expected.items():
        assert server.history(shipped, key_of(name)) == points, name


def test_names_can_be_read_back(server: Server, shipped: Path) -> None:
    """Either from the key alone, or, of a name too long for a key, from a tag."""
    run = server.run(shipped)
    keys = {metric["key"] for metric in run["data"]["metrics"]}
    long = "x" * 255
    names = {name_of(key) for key in keys} - {name_of(key_of(long))} | {long}
    assert names == points_in(shipped).keys()
    assert texts(run["data"]["tags"])[long_tag(long)] == long


def test_an_infinity_is_told_by_a_tag(server: Server, shipped: Path) -> None:
    """MLflow stores the greatest double for it, which nobody could tell apart."""
    tags = texts(server.run(shipped)["data"]["tags"])
    assert tags[key_of("mlog.infinite.odd//value")].startswith("-Infinity at step 0")


def test_params_tags_name_and_status_arrive(server: Server, shipped: Path) -> None:
    run = server.run(shipped)
    assert texts(run["data"]["params"]) == {
        "rate": "0.1",
        "layers": "[64,32]",
        "name": "ridge",
        "deep": "True",  # as MLflow's own client writes it
        "none": "None",
    }
    tags = texts(run["data"]["tags"])
    assert tags["stage"] == "final"
    assert tags[key_of("odd=key")] == "v"
    assert tags["mlog.property.owner"] == "ada"
    assert tags["mlflow.note.content"] == "Some words."
    assert tags["mlog.status"] == "Completed"
    assert tags["mlflow.user"] == getuser()
    info, state = run["info"], read_state(shipped)
    assert (info["run_name"], info["status"]) == ("renamed", "FINISHED")
    assert info["start_time"] == _time(state.created[:-1] + "+00:00") // 1_000
    assert info["end_time"] == _time((state.ended or "")[:-1] + "+00:00") // 1_000


def test_a_child_lies_below_its_parent(server: Server, shipped: Path) -> None:
    """Also one that was sent before its parent."""
    (child,) = (f for f in shipped.parent.iterdir() if f != shipped)
    tags = texts(server.run(child)["data"]["tags"])
    assert tags["mlflow.parentRunId"] == server.run(shipped)["info"]["run_id"]


def test_artifacts_and_segments_arrive_as_they_are(
    server: Server, shipped: Path
) -> None:
    artifacts = read_state(shipped).artifacts
    assert len(artifacts) >= 3
    for name in artifacts:
        there = server.artifact(shipped, artifact_name(f"artifacts/{name}"))
        assert there == (shipped / "artifacts" / name).read_bytes(), name
    for name in ("logs.jsonl", "metrics.jsonl", "events.jsonl"):
        assert server.artifact(shipped, f"mlog/{name}") == (shipped / name).read_bytes()


def test_a_model_is_registered_once(server: Server, shipped: Path) -> None:
    """With its files, its tags, and the run it comes from."""
    run_id = server.run(shipped)["info"]["run_id"]
    found = server.get("model-versions/search", filter=f"run_id='{run_id}'")
    (version,) = found["model_versions"]
    assert version["name"] == "ridge_x2F_v_x3A_1"
    assert texts(version["tags"]) == {"mlog.version": "1", "kind": "linear"}
    name = version["source"].partition("/artifacts/")[2] + "/model.txt"
    assert server.artifact(shipped, name) == b"model.txt"


def test_mlflows_own_client_reads_the_same(mlflow_url: str, shipped: Path) -> None:
    """Its library, in its own environment, sees what the files say."""
    assert MLFLOW is not None
    python = Path(MLFLOW).resolve().parent / "python"
    code = """if True:
        import json, mlflow, sys
        client = mlflow.MlflowClient(sys.argv[1])
        (run,) = mlflow.search_runs(
            search_all_experiments=True, output_format="list",
            filter_string=f"tags.mlog.run_id = '{sys.argv[2]}'")
        keys = json.loads(sys.argv[3])
        print(json.dumps({
            "experiment": client.get_experiment(run.info.experiment_id).name,
            "status": run.info.status,
            "params": run.data.params,
            "children": len(client.search_runs([run.info.experiment_id],
                f"tags.mlflow.parentRunId = '{run.info.run_id}'")),
            "artifacts": sorted(a.path for a in client.list_artifacts(run.info.run_id)),
            "history": {k: sorted((m.step, m.timestamp, repr(m.value))
                        for m in client.get_metric_history(run.info.run_id, k))
                        for k in keys},
        }))
    """
    expected = points_in(shipped)
    keys = json.dumps([key_of(name) for name in expected])
    done = subprocess.run(
        [python, "-c", code, mlflow_url, shipped.name, keys],
        env={"MLFLOW_TRACKING_URI": mlflow_url, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["experiment"] == "rich run/α"
    assert (found["status"], found["children"]) == ("FINISHED", 1)
    assert {"mlog", "models", "model.txt"} <= set(found["artifacts"])
    assert found["history"] == {
        key_of(name): sorted(
            [step, time, repr(math.nan if value == "NaN" else value + 0.0)]
            for step, time, value in points
        )
        for name, points in expected.items()
    }


# --- ranks ---------------------------------------------------------------------------


@pytest.fixture
def ranked_run(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run of two ranks."""
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        with mlog.start_run("ranks", run_id="ranked") as run:
            run.log("loss", 10 + int(rank), step=1)
    assert run.path is not None
    return run.path


@pytest.mark.parametrize(
    ("query", "keys"), [("", {"loss"}), ("&rank=all", {"loss", "loss.rank1"})]
)
def test_metrics_of_other_ranks_go_only_when_asked_for(
    server: Server, open_url: OpenSink, ranked_run: Path, query: str, keys: set[str]
) -> None:
    name = f"ranks{len(query)}"
    sink = open_url(f"mlflow+{server.url}?experiment={name}{query}")
    assert {r.outcome for r in ship(ranked_run, sink)} == {"delivered"}
    found = server.post(
        "runs/search",
        {"experiment_ids": [server.experiment(name)["experiment_id"]]},
    )
    (run,) = found["runs"]
    assert {m["key"] for m in run["data"]["metrics"]} == keys


# --- what goes wrong -----------------------------------------------------------------


@pytest.fixture
def small_run(run_dir: Path, request: pytest.FixtureRequest) -> Path:
    """Return a small run in an experiment of this test's own."""
    with mlog.start_run(request.node.name[:80], params={"a": 1}) as run:
        for step in range(3):
            run.log("loss", step / 8, step=step)
    assert run.path is not None
    return run.path


class Meddler:
    """A client whose requests some function may answer, or break, instead."""

    def __init__(
        self, client: HttpClient, meddle: Callable[[str, bytes], Reply | bytes | None]
    ) -> None:
        self._client = client
        self._meddle = meddle
        self.sent: list[str] = []

    def request(self, method: str, path: str = "", **how: Any) -> Reply:
        self.sent.append(path)
        found = self._meddle(path, how.get("content", b""))
        if isinstance(found, Reply):
            return found
        if isinstance(found, bytes):
            how["content"] = found
        return self._client.request(method, path, **how)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def meddled(
    mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., MlflowSink]]:
    """Return a maker of sinks whose requests a function meddles with."""
    made: list[MlflowSink] = []

    def make(meddle: Callable[[str, bytes], Reply | bytes | None]) -> MlflowSink:
        def client(target: Target, **options: Any) -> Any:
            return Meddler(client_of(target, max_reply=1 << 24, **options), meddle)

        monkeypatch.setattr(MlflowApi, "client", client)
        sink = open_sink(parse_route(f"mlflow+{mlflow_url}", env={}).target)
        assert isinstance(sink, MlflowSink)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close()


class Swallow:
    """Meddles: acknowledges the first metrics, which the server never gets."""

    content = b""

    def __call__(self, path: str, content: bytes) -> Reply | None:
        if (
            self.content
            or not path.endswith("log-batch")
            or b'"metrics"' not in content
        ):
            return None
        self.content = content
        return Reply(200, {}, b"{}")


def test_points_that_the_server_has_lost_are_sent_again(
    server: Server, small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    """It acknowledged them; counting back finds that they are not there."""
    swallow = Swallow()
    assert [r for r in ship(small_run, meddled(swallow)) if r.rejected] == []
    assert swallow.content
    assert server.history(small_run, "loss") == points_in(small_run)["loss"]


def test_beyond_the_limit_the_newest_point_stands_for_its_metric(
    server: Server,
    small_run: Path,
    meddled: Callable[..., MlflowSink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it is missing, all points of the metric are sent again."""
    monkeypatch.setattr("mlog.shipping.sinks.mlflow._CHECKED", 1)
    swallow = Swallow()
    assert [r for r in ship(small_run, meddled(swallow)) if r.rejected] == []
    assert server.history(small_run, "loss") == points_in(small_run)["loss"]


def test_points_that_the_server_loses_again_are_told(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    def swallow(path: str, content: bytes) -> Reply | None:
        is_metrics = path.endswith("log-batch") and b'"metrics"' in content
        return Reply(200, {}, b"{}") if is_metrics else None

    finish = ship(small_run, meddled(swallow))[-1]
    (rejected,) = finish.rejected
    assert rejected.count == 3
    assert "loss: acknowledged by the server, but not there" in rejected.reason


def test_a_lost_answer_makes_no_second_run(
    server: Server, small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    """The run was made, the answer never came: it is found by its tag."""
    state = {"lost": False}

    def lose(path: str, content: bytes) -> None:
        if path.endswith("runs/create") and not state["lost"]:
            state["lost"] = True
            server.post("runs/create", json.loads(content))
            raise HttpError("no answer in time")

    sink = meddled(lose)
    batch = next(batches_of(small_run, sink))
    with pytest.raises(HttpError):
        sink.send(batch)
    assert {r.outcome for r in ship(small_run, sink)} == {"delivered"}
    assert len(server.runs(small_run)) == 1


def test_two_shippers_at_once_agree_on_one_run(
    server: Server, small_run: Path, mlflow_url: str
) -> None:
    """Both made one, as neither saw the other's; the second deletes its own."""
    target = parse_route(f"mlflow+{mlflow_url}", env={}).target
    api = MlflowApi(target, MlflowApi.client(target))

    def runs(clock: int) -> RemoteRuns:
        return RemoteRuns(api, limit=0, clock=lambda: clock)

    first, second = runs(1), runs(2)
    facts = facts_of(small_run)
    search = second._search
    second._search = lambda *_: (setattr(second, "_search", search), None)[1]  # type: ignore[method-assign,func-returns-value]
    one = first.find(facts)
    assert second.find(facts).id == one.id
    states = {r["info"]["lifecycle_stage"] for r in server.runs(small_run)}
    assert states == {"active", "deleted"}
    assert runs(3).find(facts).id == one.id
    api.close()


def test_a_shipper_that_dies_again_and_again_delivers_each_point_once(
    server: Server, small_run: Path, mlflow_url: str
) -> None:
    """After each answer of the server, before the cursor has moved."""

    class Death(BaseException):
        pass

    def dying_at(answer: int) -> World:
        left = [answer]

        def reach(point: str) -> None:
            left[0] -= point == "sent"
            if not left[0]:
                raise Death

        return World(reach=reach)

    route = parse_route(f"mlflow+{mlflow_url}", env={})
    for world in (*map(dying_at, (1, 1, 2, 2)), World()):
        sink = open_sink(route.target)
        delivery = open_delivery(small_run, sink, route, Options("here"), world)
        try:
            while delivery.step() != "done":
                pass
        except Death:
            delivery.place.release()
        finally:
            sink.close()
    delivery.close()
    assert server.run(small_run)["info"]["status"] == "FINISHED"
    assert server.history(small_run, "loss") == points_in(small_run)["loss"]
    assert server.artifact(small_run, "mlog/metrics.jsonl")


def with_event(batch: Batch, event: str, **data: Any) -> Batch:
    """Return a batch of one event in the place of another."""
    line = {
        "ts": "2026-01-01T00:00:00.000000Z",
        "seq": 99,
        "event": event,
        "data": data,
    }
    body = json.dumps(line).encode() + b"\n"
    return Batch(batch.run, batch.writer, batch.segment, 0, len(body), body)


def test_a_tag_that_was_removed_goes_there_too(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    """Also by a sink that has not set it, and where somebody removed it there."""
    sink = open_url(f"mlflow+{server.url}")
    first = next(batches_of(small_run, sink))
    sink.send(with_event(first, "run.tags", a="1", b="2", c="3"))
    run_id = server.run(small_run)["info"]["run_id"]
    server.post("runs/delete-tag", {"run_id": run_id, "key": "c"})
    anew = open_url(f"mlflow+{server.url}")
    for each, keys in ((anew, ["a"]), (sink, ["b", "c"])):
        gone = with_event(first, "run.tags_removed", keys=keys)
        assert each.send(gone) == DELIVERED
    assert not texts(server.run(small_run)["data"]["tags"]).keys() & {"a", "b", "c"}


def test_a_model_that_is_gone_is_told_for_its_event(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    sink = open_url(f"mlflow+{server.url}")
    first = next(batches_of(small_run, sink))
    (rejected,) = sink.send(
        with_event(first, "run.model", name="m", version=1)
    ).rejected
    assert rejected.index == 0
    assert "no model 'm'" in rejected.reason


def test_a_child_in_another_experiment_is_below_its_parent(
    server: Server, run_dir: Path, open_url: OpenSink
) -> None:
    """A parent of another root is not looked at: somebody else may have named it."""
    with mlog.start_run("above") as parent, mlog.start_run("below") as child:
        child.log("loss", 1)
    assert parent.path is not None
    assert child.path is not None
    sink = open_url(f"mlflow+{server.url}")
    ship(parent.path, sink)
    ship(child.path, sink)
    tags = texts(server.run(child.path)["data"]["tags"])
    assert tags["mlflow.parentRunId"] == server.run(parent.path)["info"]["run_id"]
    foreign = replace(facts_of(child.path), parent="/elsewhere/above/run-1")
    assert _parent_folder(foreign) is None


def test_a_run_that_was_taken_for_dead_may_go_on(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    """Its host slept, say: it is FAILED until more of it comes."""
    sink = open_url(f"mlflow+{server.url}")
    *_, metrics = batches_of(small_run, sink)
    sink.send(metrics)
    end = RunEnd("NotResponding", "2026-11-27T00:00:00.000000Z")
    sink.finish(facts_of(small_run), end)
    assert server.run(small_run)["info"]["status"] == "FAILED"
    for each in (open_url(f"mlflow+{server.url}"), sink):
        each.send(metrics)
        run = server.run(small_run)
        assert run["info"]["status"] == "RUNNING"
        assert texts(run["data"]["tags"])["mlog.status"] == "Running"
    sink.finish(facts_of(small_run), end_of(read_state(small_run)))
    assert server.run(small_run)["info"]["status"] == "FINISHED"


def test_a_param_that_would_change_takes_nothing_with_it(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    """MLflow refuses a whole request for it; only the param itself is rejected."""
    sink = open_url(f"mlflow+{server.url}")
    first, *rest = batches_of(small_run, sink)
    sink.send(first)
    again = with_event(first, "run.params", b="new", a=2, c=[1])
    (rejected,) = sink.send(again).rejected
    assert rejected.index == 0
    assert "Changing param values is not allowed" in rejected.reason
    assert {sink.send(batch).outcome for batch in rest} == {"delivered"}
    params = texts(server.run(small_run)["data"]["params"])
    assert params == {"a": "1", "b": "new", "c": "[1]"}


def test_a_run_that_was_deleted_there_is_not_made_again(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    """Neither by the sink that knew it nor by one that begins anew."""
    sink = open_url(f"mlflow+{server.url}")
    ship(small_run, sink)
    run_id = server.run(small_run)["info"]["run_id"]
    server.post("runs/delete", {"run_id": run_id})
    for each in (sink, open_url(f"mlflow+{server.url}")):
        metrics = [b for b in batches_of(small_run, each) if b.stream == "metrics"]
        result = each.send(metrics[0])
        assert result.outcome == "delivered"
        assert sum(r.count for r in result.rejected) == metrics[0].count
        assert "deleted" in result.rejected[0].reason or "active" in str(result)
    assert len(server.runs(small_run)) == 1


def test_an_experiment_that_was_deleted_there_is_waited_for(
    server: Server, small_run: Path, open_url: OpenSink
) -> None:
    """It is not made again; when somebody restores it, the run goes on."""
    sink = open_url(f"mlflow+{server.url}")
    ship(small_run, sink)
    name = read_state(small_run).experiment
    experiment = {"experiment_id": server.experiment(name)["experiment_id"]}
    server.post("experiments/delete", experiment)
    anew = open_url(f"mlflow+{server.url}")
    for each in (sink, anew):
        result = _outcome(each, small_run)
        assert result.outcome == "blocked"
        assert "was deleted on the server; restore it there" in result.error
    server.post("experiments/restore", experiment)
    assert _outcome(anew, small_run).outcome == "delivered"


def _outcome(sink: Sink, run: Path) -> SendResult:
    """Send the metrics of a run, as the shipper calls a sink that may raise."""
    metrics = next(b for b in batches_of(run, sink) if b.stream == "metrics")
    try:
        return sink.send(metrics)
    except mlog.MlogError as exc:
        return SendResult("blocked", str(exc))


def test_a_run_that_is_gone_for_good_is_made_anew(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    """After `mlflow gc`: 404 means to look again, not to give up."""
    gone = Reply(
        404,
        {},
        b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Run with id=1 not found"}',
    )
    answers = [gone]

    def once(path: str, content: bytes) -> Reply | None:
        return answers.pop() if path.endswith("log-batch") and answers else None

    sink = meddled(once)
    batch = next(batches_of(small_run, sink))
    assert sink.send(batch).outcome == "retry"
    assert sink.send(batch).outcome == "delivered"


def test_the_page_for_what_cannot_be_parsed_is_a_refusal(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    """It says 500, as if to try again; but other requests work, so it is the batch."""

    def break_json(path: str, content: bytes) -> bytes | None:
        is_metrics = path.endswith("log-batch") and b'"metrics"' in content
        return content[:-1] if is_metrics else None

    sink = meddled(break_json)
    outcomes = {b.stream: sink.send(b).outcome for b in batches_of(small_run, sink)}
    assert outcomes == {"events": "delivered", "metrics": "refused"}


def test_a_server_that_fails_in_everything_is_tried_again(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    page = b"<title>500 Internal Server Error</title>"
    sink = meddled(lambda path, content: Reply(500, {}, page))
    batch = next(batches_of(small_run, sink))
    assert {sink.send(batch).outcome for _ in range(5)} == {"retry"}


def test_a_login_page_is_no_success(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    sink = meddled(lambda path, content: Reply(200, {}, b"<html>Sign in"))
    result = sink.send(next(batches_of(small_run, sink)))
    assert result.outcome == "blocked"
    assert "does not answer as MLflow does" in result.error


def test_a_refused_host_name_is_told_by_its_name(
    small_run: Path, mlflow_url: str
) -> None:
    """The server's health check passes all the same, so people look elsewhere."""
    target = Target("mlflow", "http://tracking.example:5000")
    real = client_of(Target("mlflow", mlflow_url))

    class Renamed:
        def request(self, method: str, path: str = "", **how: Any) -> Reply:
            host = {"host": "tracking.example:5000"}
            how["headers"] = {**how.get("headers", {}), **host}
            return real.request(method, path, **how)

        def close(self) -> None:
            real.close()

    api = MlflowApi(target, Renamed())  # type: ignore[arg-type]
    with pytest.raises(MlflowError) as raised:
        api.experiment("x")
    real.close()
    assert raised.value.result.outcome == "blocked"
    assert "refuses the host name tracking.example:5000" in str(raised.value)
    assert "--allowed-hosts tracking.example:5000" in str(raised.value)


def test_a_server_without_its_proxy_of_artifacts_says_so(
    small_run: Path, meddled: Callable[..., MlflowSink]
) -> None:
    """Metrics go through; that a file does not is told for that file."""
    sink = meddled(lambda path, content: None)
    remote = sink._runs.find(facts_of(small_run))
    remote.artifacts = "s3://bucket/1/artifacts"
    results = ship(small_run, sink)
    reasons = [result.error for result in results if result.error]
    assert {result.outcome for result in results} == {"delivered", "refused"}
    assert all("--serve-artifacts" in reason for reason in reasons)


@pytest.mark.slow
def test_a_server_with_logins(
    tmp_path: Path, small_run: Path, open_url: OpenSink
) -> None:
    """Without, or with a wrong password: blocked; with the right one all arrives."""
    auth = tmp_path / "auth.ini"
    auth.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{tmp_path}/auth.db\nadmin_username = admin\n"
        "admin_password = long-password-1\n"
    )
    env = {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "long-password-1",
        "MLFLOW_AUTH_CONFIG_PATH": str(auth),
    }
    login = {"MLFLOW_TRACKING_USERNAME": "admin"}
    with mlflow_server(tmp_path, "--app-name", "basic-auth", env=env) as url:
        for wrong in ({}, {**login, "MLFLOW_TRACKING_PASSWORD": "wrong-password"}):
            sink = open_url(f"mlflow+{url}", **wrong)
            result = sink.send(next(batches_of(small_run, sink)))
            assert result.outcome == "blocked"
            assert "wrong-password" not in result.error
        good = {**login, "MLFLOW_TRACKING_PASSWORD": "long-password-1"}
        results = ship(small_run, open_url(f"mlflow+{url}", **good))
        assert {r.outcome for r in results} == {"delivered"}
        server = Server(url, auth=("admin", "long-password-1"))
        assert server.history(small_run, "loss") == points_in(small_run)["loss"]
        server.close()


@pytest.mark.slow
def test_the_example_sends_two_runs(tmp_path: Path) -> None:
    """One while it goes on, one that was recorded without a server."""
    if MLFLOW is None:
        pytest.skip("no MLflow: MLOG_TEST_MLFLOW names none, and PATH has none")
    path = f"{Path(MLFLOW).parent}{os.pathsep}{os.environ['PATH']}"
    done = run_python(
        REPO / "examples" / "ship_to_mlflow.py",
        env={"PATH": path, **QUIET},
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    *_, first, second = done.stdout.splitlines()
    assert {first, second} == {
        "  rate 0.1: FINISHED, 200 points of loss",
        "  rate 0.2: FINISHED, 200 points of loss",
    }


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("rank=1", "rank must be 0 or all"),
        ("check=some", "check must be all or off"),
        ("ranks=all", "takes rank, experiment and check"),
    ],
)
def test_a_parameter_that_is_none_is_told(
    open_url: OpenSink, query: str, text: str
) -> None:
    with pytest.raises(mlog.MlogError, match=text):
        open_url(f"mlflow+http://localhost?{query}")


@pytest.mark.parametrize("kind", ["mlflow", "otlp", "clickhouse"])
def test_an_address_without_http_is_told_how_to_write_it(
    open_url: OpenSink, kind: str
) -> None:
    with pytest.raises(mlog.MlogError, match=rf"write {kind}\+https://host:1 or"):
        open_url(f"{kind}://host:1/path")
