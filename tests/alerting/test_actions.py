"""Actions: commands and messages are really run and sent, to this machine."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlog.alerting.actions import Alert, action_of, message_for
from mlog.errors import MlogError

ALERT = Alert("loss > 5", "loss=6 step=2", "20261127-180000-3f9a1c", "digits", held=2)


class Server(http.server.ThreadingHTTPServer):
    """Keeps what it is sent, and answers as it was told to."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((self.path, headers, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class TestCommands:
    def test_it_gets_the_alert_as_json(self, tmp_path: Path) -> None:
        path = tmp_path / "got"
        code = f"import sys; open({str(path)!r}, 'w').write(sys.stdin.read())"
        action = action_of([sys.executable, "-c", code])
        action.act(ALERT)
        assert json.loads(path.read_text()) == ALERT._asdict()

    def test_one_that_fails_says_its_last_line(self) -> None:
        code = "import sys; print('one'); sys.exit('no mail today')"
        with pytest.raises(MlogError, match="no mail today"):
            action_of([sys.executable, "-c", code]).act(ALERT)

    def test_it_is_no_part_of_the_run(self, tmp_path: Path) -> None:
        path = tmp_path / "env"
        code = f"import os, json\njson.dump(dict(os.environ), open({str(path)!r}, 'w'))"
        action_of([sys.executable, "-c", code]).act(ALERT)
        env = json.loads(path.read_text())
        assert env["MLOG_MODE"] == "off"
        assert "MLOG_RUN" not in env


class TestWebhooks:
    def test_a_plain_one_gets_the_alert_as_json(self, server: Server) -> None:
        action_of(f"{server.address}/hook?key=k1").act(ALERT)
        ((path, headers, body),) = server.got
        assert path == "/hook?key=k1"
        assert headers["content-type"] == "application/json"
        assert json.loads(body) == ALERT._asdict()

    @pytest.mark.parametrize("kind", ["slack", "discord", "teams", "ntfy"])
    def test_services_get_their_own_shape(self, server: Server, kind: str) -> None:
        action = action_of(f"{kind}+{server.address}/services/T0/B0")
        assert action.kind == kind
        action.act(ALERT)
        ((path, headers, body),) = server.got
        assert path == "/services/T0/B0"
        wanted, own = message_for(kind, ALERT)
        assert body == wanted
        assert {k: headers[k] for k in own} == dict(own)

    def test_a_refusal_names_no_address(self, server: Server) -> None:
        server.status = 410
        action = action_of(f"slack+{server.address}/services/secret")
        with pytest.raises(MlogError, match="answered 410") as caught:
            action.act(ALERT)
        assert "secret" not in str(caught.value)

    def test_a_server_that_is_away_is_told(self, server: Server) -> None:
        address = server.address
        server.server_close()
        with pytest.raises(MlogError, match="no answer"):
            action_of(address).act(ALERT)


class TestMessages:
    def test_what_each_service_wants(self) -> None:
        slack = json.loads(message_for("slack", ALERT)[0])
        assert slack["text"].startswith("*mlog: digits 3f9a1c*\nloss=6 step=2 (and 2")
        discord = json.loads(message_for("discord", ALERT)[0])
        assert set(discord) == {"content", "allowed_mentions"}
        teams = json.loads(message_for("teams", ALERT)[0])
        assert teams["attachments"][0]["content"]["type"] == "AdaptiveCard"
        body, headers = message_for("ntfy", ALERT)
        assert body.endswith(b"rule: loss > 5")
        assert headers["title"] == "mlog: digits 3f9a1c"

    def test_what_was_logged_calls_nobody(self) -> None:
        """Slack takes <!channel> for a mention, Discord @everyone."""
        alert = ALERT._replace(text="@everyone <!channel> & <b>")
        slack = json.loads(message_for("slack", alert)[0])["text"]
        assert "@everyone &lt;!channel&gt; &amp; &lt;b&gt;" in slack
        discord = json.loads(message_for("discord", alert)[0])
        assert discord["allowed_mentions"] == {"parse": []}

    @pytest.mark.parametrize("address", ["slack+https://", "https:///x", "http://:80"])
    def test_an_address_needs_a_host(self, address: str) -> None:
        with pytest.raises(ValueError, match="needs a host"):
            action_of(address)

    def test_discords_limit_is_kept(self) -> None:
        long = ALERT._replace(text="x" * 5_000)
        assert len(json.loads(message_for("discord", long)[0])["content"]) == 2_000


class TestDesktop:
    def test_the_systems_own_program_shows_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stand-in for notify-send, as the machines of the tests have no screen."""
        program = tmp_path / "notify-send"
        program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/shown\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        action_of("desktop").act(ALERT)
        shown = (tmp_path / "shown").read_text()
        assert shown.startswith("--|mlog: digits 3f9a1c|loss=6 step=2 (and 2 more")

    def test_without_one_it_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MlogError, match="neither notify-send nor osascript"):
            action_of("desktop").act(ALERT)


@pytest.mark.parametrize("odd", ["mail", "ftp://host", "pager+https://host", "slack+x"])
def test_another_text_is_refused(odd: str) -> None:
    with pytest.raises(ValueError, match="expected 'desktop' or a webhook's address"):
        action_of(odd)


@pytest.mark.parametrize("odd", [None, 3, [], ["a", 1]])
def test_another_object_is_refused(odd: Any) -> None:
    with pytest.raises(TypeError, match="an action is a function, a command"):
        action_of(odd)
