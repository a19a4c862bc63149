"""The client of a target, and what a reply means for a batch."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlog.http import HttpClient, Reply
from mlog.shipping.http import client_of, result_of
from mlog.shipping.sink import Target
from tests.http_server import Server, reply

SECRET = "tok-123-secret"

Open = Callable[..., HttpClient]


@pytest.fixture
def open_client(server: Server) -> Iterator[Open]:
    """Make clients of the server that are closed after the test."""
    made: list[HttpClient] = []

    def make(**target: Any) -> HttpClient:
        made.append(client_of(Target("http", server.url, **{"env": {}, **target})))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_a_token_is_asked_for_each_time(server: Server, open_client: Open) -> None:
    """A token that was renewed counts at once."""
    tokens = iter(("one", "two"))
    client = open_client(token=lambda: next(tokens))
    for _ in range(2):
        client.request("POST")
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer one", "Bearer two"]


def test_a_login_comes_before_a_token(server: Server, open_client: Open) -> None:
    open_client(token=lambda: SECRET, login=("ada", "pw")).request("POST")
    assert server.requests[0].headers["authorization"] == "Basic YWRhOnB3"


def test_without_credentials_none_are_sent(server: Server, open_client: Open) -> None:
    open_client().request("POST")
    assert "authorization" not in server.requests[0].headers


def test_a_redirect_blocks(server: Server, open_client: Open) -> None:
    """Somebody has to mend the address; the one it leads to may be anybody's."""
    server.usual = reply(307, headers={"location": "http://127.0.0.1:9/steal"})
    result = result_of(open_client().request("POST", content=b"x"))
    assert result.outcome == "blocked"
    assert "redirects are not followed (http://127.0.0.1:9/steal)" in result.error


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (206, "retry"),
        (260, "retry"),
        (400, "refused"),
        (401, "blocked"),
        (403, "blocked"),
        (404, "blocked"),
        (405, "blocked"),
        (408, "retry"),
        (413, "too_large"),
        (415, "refused"),
        (422, "refused"),
        (429, "retry"),
        (500, "retry"),
        (501, "blocked"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
    ],
)
def test_what_a_status_means(status: int, outcome: str) -> None:
    found = result_of(Reply(status, {"retry-after": "7"}, b"why"))
    assert found.outcome == outcome
    if outcome == "retry":
        assert found.retry_after == 7.0


@pytest.mark.parametrize(
    "target",
    [{"token": lambda: SECRET}, {"login": ("me", "pass-word")}],
    ids=["token", "login"],
)
def test_errors_show_no_credentials(
    server: Server, open_client: Open, target: dict[str, Any]
) -> None:
    """Also where the server sends them back."""
    text = f"\x1b[2J{SECRET} me:pass-word\n".encode() + b"\xff" + b"x" * 10_000
    server.usual = reply(400, text, {"location": SECRET})
    shown = result_of(open_client(**target).request("POST")).error
    own = SECRET if "token" in target else "pass-word"
    assert own not in shown
    assert "***" in shown
    assert "\x1b" not in shown
    assert len(shown) < 300
