"""A proxy as teams have it: nginx before the service, and nginx as the store itself."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlog.shipping.shipper import Options, Shipper
from mlog.shipping.sink import RunFile
from mlog.shipping.sinks import open_sink
from mlog.shipping.sinks.mlflow_api import MlflowApi, MlflowError
from mlog.shipping.status import read_status
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from tests.helpers import FakeClock
from tests.http_server import Request, Server
from tests.shipping.conftest import all_lines

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx")

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 2k;
        location /in {{ proxy_pass http://127.0.0.1:{backend}; }}
        location /slow {{
            proxy_pass http://127.0.0.1:{backend}/in;
            proxy_read_timeout 200ms;
        }}
        location /store/ {{
            root {folder};
            client_max_body_size 10m;
            dav_methods PUT;
            create_full_put_path on;
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, backend: int) -> Iterator[str]:
    """Run nginx before a service at a port; gives its address."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, backend=backend))
    command = [str(NGINX), "-e", f"{folder}/error.log", "-p", str(folder)]
    process = subprocess.Popen([*command, "-c", str(config)], stderr=subprocess.PIPE)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            continue
        return
    process.kill()
    pytest.fail(f"nginx does not start: {process.communicate()[1][-500:]!r}")


def ship(url: str, run: Path, on_wait: Callable[[], None] = lambda: None) -> Shipper:
    """Send a run; the clock moves when the shipper waits."""
    clock = FakeClock(1_795_500_000.0)

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        if seconds:
            on_wait()
        return clock.now > 1_795_500_000.0 + 3_600

    route = parse_route(url, env={})
    sink = open_sink(route.target)
    world = World(clock, clock, lambda: 0.5)
    shipper = Shipper(sink, route, Options(host="here"), wait, world)
    try:
        shipper.ship(lambda: [run])
    finally:
        sink.close()
    return shipper


def test_502_while_the_service_is_away(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """Its page is an error to be tried again; when the service is there, all arrives."""
    run = make_run(metrics=20)
    backend = free_port()
    errors: list[str] = []
    services: list[Server] = []

    def on_wait() -> None:
        [status] = read_status(run)
        errors.append(status.error)
        if len(errors) == 3:
            services.append(Server(socket.create_server(("127.0.0.1", backend))))
            threading.Thread(target=services[0].serve, daemon=True).start()

    with nginx(tmp_path, backend) as url:
        assert ship(f"{url}/in", run, on_wait).done == 1
    [service] = services
    service.listener.shutdown(socket.SHUT_RDWR)
    service.listener.close()
    assert errors[0].startswith("HTTP 502: <html>")
    assert "\n" not in errors[0]
    assert sorted(service.lines()) == sorted(all_lines(run))
    [status] = read_status(run)
    assert (status.state, status.dead) == ("done", 0)
    assert status.retries >= 3


def test_413_of_client_max_body_size(
    make_run: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    """Batches become as small as the proxy wants them."""
    run = make_run(metrics=300)
    with nginx(tmp_path, server.port) as url:
        assert ship(f"{url}/in?coding=identity", run).done == 1
    assert sorted(server.lines()) == sorted(all_lines(run))
    assert max(len(request.body) for request in server.taken) <= 2048
    [status] = read_status(run)
    assert (status.state, status.dead) == ("done", 0)


def test_504_of_a_service_that_is_too_slow(
    make_run: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    """The service has it, the proxy has given up: it comes again under the same id."""
    run = make_run(metrics=5)
    hold = threading.Event()

    def too_late(request: Request, connection: socket.socket) -> None:
        hold.wait(30)

    server.script = [too_late]
    with nginx(tmp_path, server.port) as url:
        assert ship(f"{url}/slow", run, hold.set).done == 1
    first, second = server.requests[:2]
    assert first.body == second.body
    assert first.headers["x-mlog-batch"] == second.headers["x-mlog-batch"]
    assert sorted(server.lines()) == sorted(all_lines(run))
    [status] = read_status(run)
    assert status.dead == 0


def test_files_are_put_as_they_are(tmp_path: Path) -> None:
    """Into a store that takes PUT, streamed; one that is too large is refused by name."""
    content = bytes(range(256)) * 20_000
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with nginx(tmp_path, free_port()) as url:
        target = parse_route(f"mlflow+{url}/store", env={}).target
        api = MlflowApi(target, MlflowApi.client(target))
        for _ in range(2):  # as after a crash
            api.put("a b/model.bin", RunFile("model.bin", path, len(content)))
        path.write_bytes(content * 3)
        with pytest.raises(MlflowError, match="HTTP 413") as caught:
            api.put("large.bin", RunFile("model.bin", path, 3 * len(content)))
        api.close()
    [stored] = (tmp_path / "store").rglob("*.bin")
    assert stored.read_bytes() == content
    assert stored.parent.name == "a b"
    assert caught.value.result.outcome == "too_large"
