"""Bearer tokens: asked for when they are needed, shown nowhere."""

import shlex
import sys
import textwrap
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from mlog.errors import MlogError
from mlog.shipping.target import parse_route
from mlog.shipping.tokens import Token, token_of
from tests.helpers import run_python
from tests.http_server import Server
from tests.shipping.conftest import all_lines

SECRET = "t0ken-s3cret"


def of_url(env: dict[str, str] | None = None, **parameters: str) -> Token:
    url = f"https://host/?{urlencode(parameters)}"
    return parse_route(url, env=env or {}).target.token


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


@pytest.fixture
def counted(tmp_path: Path) -> str:
    """A command that gives another token each time."""
    script = tmp_path / "my token.py"
    script.write_text(
        "import pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(n))\n"
        "print(f'{n}-token')\n"
    )
    return shlex.join([sys.executable, str(script)])


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    """A file that was renewed, as mounted secrets are, counts at once."""
    file = tmp_path / "token"
    file.write_text("one\n")
    token = of_url(token_file=str(file))
    assert token() == "one"
    file.write_text("two\n")
    assert token() == "two"
    file.unlink()
    with pytest.raises(MlogError, match=r"token_file .*: No such file"):
        token()


def test_the_environment_has_one() -> None:
    assert of_url({"MINE": "three"}, token_env="MINE")() == "three"
    assert of_url({"MLOG_REMOTE_TOKEN": "four"})() == "four"
    assert of_url()() is None


def test_who_calls_may_give_a_callable() -> None:
    route = parse_route("https://h", env={}, token=lambda: "five")
    assert route.target.token() == "five"


def test_a_command_is_run_again_after_a_while(counted: str) -> None:
    """Before the 30 s are over that a sink waits after a 401; not for each request."""
    now = [100.0]
    token = token_of({"token_command": counted}, {}, clock=lambda: now[0])
    assert [token(), token()] == ["1-token", "1-token"]
    now[0] += 26.0
    assert token() == "2-token"


def test_the_environment_names_a_command(counted: str) -> None:
    """What is said of one sink, and a token that is there, stand before it."""
    env = {"MLOG_REMOTE_TOKEN_COMMAND": counted}
    assert of_url(env)() == "1-token"
    assert of_url(env | {"MLOG_REMOTE_TOKEN": "x"})() == "x"
    assert of_url(env, token_env="MINE")() is None


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("/no/such/program x", "token_command /no/such/program: No such file"),
        (python(f"print({SECRET!r}); exit(3)"), "failed with exit code 3"),
        (python(f"import sys; sys.exit({SECRET!r})"), "failed with exit code 1"),
        (python("pass"), "wrote no token to its standard output"),
        ("'half", "token_command is no command: No closing quotation"),
        (" ", "token_command must name a program"),
    ],
)
def test_a_command_that_gives_none_is_told_of(command: str, says: str) -> None:
    """Without anything that it wrote, and without what it was told."""
    with pytest.raises(MlogError, match=says) as caught:
        token_of({"token_command": command}, {})()
    assert SECRET not in str(caught.value)


def test_no_shell_reads_a_command(tmp_path: Path) -> None:
    made = tmp_path / "made"
    token = token_of({"token_command": f"echo $(touch {made}) ; touch {made}"}, {})
    assert token() == f"$(touch {made}) ; touch {made}"
    assert not made.exists()


def test_a_function_is_called_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, as the shipper is a process of its own."""
    (tmp_path / "my_tokens.py").write_text(
        "found = iter(['one', 'two'])\n"
        "def token(): return next(found)\n"
        f"def fails(): raise ValueError({SECRET!r})\n"
        "def number(): return 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    token = of_url(token_call="my_tokens:token")
    assert [token(), token()] == ["one", "two"]
    for name, says in {
        "my_tokens:fails": "token_call my_tokens:fails: ValueError$",
        "my_tokens:number": "must return a str, got int",
        "my_tokens:nothing": "AttributeError",
        "no_such_module_of_mine:x": "ModuleNotFoundError",
    }.items():
        with pytest.raises(MlogError, match=says):
            of_url(token_call=name)()
    with pytest.raises(MlogError, match=r"like package\.module:function"):
        of_url(token_call="token")


@pytest.mark.parametrize("way", ["command", "call"])
def test_the_shipper_of_a_run_asks_for_it(
    server: Server, run_dir: Path, tmp_path: Path, counted: str, way: str
) -> None:
    """Not the program that is recorded; and no file of the run knows it."""
    (tmp_path / "my_tokens.py").write_text(
        textwrap.dedent(
            """
            def token():
                return "1-token"
            """
        )
    )
    said = {"command": counted, "call": "my_tokens:token"}[way]
    code = """
        import mlog, sys
        with mlog.start_run("exp", remote=sys.argv[1], flush_timeout=60) as run:
            run.log("loss", 1.0)
        assert "my_tokens" not in sys.modules
    """
    result = run_python(
        textwrap.dedent(code),
        f"{server.url}?token_{way}={quote(said)}",
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert (result.returncode, result.stderr) == (0, "")
    [run] = run_dir.glob("exp/*")
    assert sorted(server.lines()) == sorted(all_lines(run))
    shown = {request.headers["authorization"] for request in server.taken}
    assert shown == {"Bearer 1-token"}
    kept = b"".join(p.read_bytes() for p in run.rglob("*") if p.is_file())
    assert b"1-token" not in kept
