"""What a sink's URL says."""

from pathlib import Path

import pytest

from mlog.errors import MlogError
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import parse_route


def test_a_url_is_taken_apart() -> None:
    url = "mlflow+https://me:s%20ecret@host:5000/base?level=warning&rank=all&streams=metrics"
    route = parse_route(url, env={})
    assert route.target.kind == "mlflow"
    assert route.target.url == "https://host:5000/base"
    assert route.target.query == {"rank": "all"}
    assert route.target.login == ("me", "s ecret")
    assert route.level == 30
    assert route.streams == frozenset(("metrics",))


def test_nothing_shows_credentials() -> None:
    """Neither reprs nor names hold what proves who somebody is."""
    url = "https://me:s3cret@host/p?api_key=t0ken&level=INFO"
    route = parse_route(url, env={"MLOG_REMOTE_TOKEN": "be4rer"})
    assert route.target.token() == "be4rer"
    shown = repr(route) + route.target.name
    assert not any(word in shown for word in ("s3cret", "t0ken", "be4rer"))


def test_a_new_secret_is_no_new_sink() -> None:
    """The cursor's name stays when a password or key changes; it differs by address."""
    names = [
        parse_route(url, env={}).target.name
        for url in (
            "https://a:1@host/p?api_key=1&table=x",
            "https://b:2@host/p?table=x&api_key=2",
            "https://host/p?table=y",
            "https://host/q?table=x",
            "otlp+https://host/p?table=x",
        )
    ]
    assert names[0] == names[1]
    assert len(set(names[1:])) == 4


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("host/path", "begins with its scheme"),
        ("https://h:nan/", "not a sink's URL"),
        ("https://h/?level=LOUD", "level must be"),
        ("https://h/?streams=everything", "streams must be"),
        ("https://h/?streams=", "streams must be"),
        ("gopher://h/", "no sink for 'gopher'; there are"),
        ("https:///path", "expected http://host"),
        ("file://elsewhere/folder", "expected file:///folder"),
        ("http://h/?coding=rot13", "coding must be one of"),
    ],
)
def test_what_is_wrong_is_said(url: str, says: str) -> None:
    with pytest.raises(MlogError, match=says):
        open_sink(parse_route(url, env={}).target)


def test_an_entry_point_adds_a_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of somebody else's gives its sink a scheme; a broken one is named."""
    (tmp_path / "my_sink.py").write_text(
        "def make(target): return ('made', target.url)\n"
    )
    info = tmp_path / "my_sink-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_sink\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[mlog.sinks]\nmine = my_sink:make\nbad = my_sink:nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    made: object = open_sink(parse_route("mine+https://host/x", env={}).target)
    assert made == ("made", "https://host/x")
    with pytest.raises(MlogError, match="'bad' of my_sink:nothing cannot be loaded"):
        open_sink(parse_route("bad+https://host/x", env={}).target)
