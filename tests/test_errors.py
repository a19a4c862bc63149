"""The exception tree, and warnings given once per cause."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

import mlog
from mlog.errors import (
    MlogError,
    MlogWarning,
    RunExistsError,
    RunNotFoundError,
    UnsafePathError,
    be_strict,
    say,
    warn_once,
)
from tests.helpers import run_python


@pytest.fixture
def _strict() -> Iterator[None]:
    be_strict(1)
    yield
    be_strict(-1)


@pytest.mark.parametrize("error", [RunExistsError, RunNotFoundError, UnsafePathError])
def test_errors_a_program_can_react_to_have_one_base(error: type[Exception]) -> None:
    assert issubclass(error, MlogError)
    assert getattr(mlog, error.__name__) is error


def test_a_run_that_is_not_found_is_a_lookup_error() -> None:
    assert issubclass(RunNotFoundError, LookupError)


def test_a_cause_is_warned_about_once() -> None:
    with pytest.warns(MlogWarning, match="one") as told:
        assert warn_once("cause", "one")
    assert not warn_once("cause", "one again")
    assert len(told) == 1


def test_other_causes_have_warnings_of_their_own() -> None:
    for cause in ("a", "b"):
        with pytest.warns(MlogWarning, match=f"text of {cause}"):
            warn_once(cause, f"text of {cause}")


def test_a_warning_points_at_the_line_of_the_caller() -> None:
    with pytest.warns(MlogWarning) as told:
        warn_once("here", "here", stacklevel=1)
    assert told[0].filename == __file__


def test_a_warning_points_past_mlog_and_logging_by_itself() -> None:
    """However deep inside, it names the line the user wrote."""
    log = mlog.getLogger("a")
    line = sys._getframe().f_lineno + 2
    with pytest.warns(MlogWarning) as told:
        log.info(metric={"x": 1})
    assert (told[0].filename, told[0].lineno) == (__file__, line)


def test_a_warning_that_would_be_raised_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Under `-W error`, too, a logging call must not end a training run."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_once("cause", "what is wrong")
    assert capsys.readouterr().err == "mlog: warning: what is wrong\n"


def test_a_showwarning_that_fails_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", broken)
        assert warn_once("cause", "text")
    assert "mlog: warning: text" in capsys.readouterr().err


def test_captured_warnings_do_not_go_round_in_circles(run_dir: object) -> None:
    """`captureWarnings` logs them, and the run records that."""
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with mlog.start_run("e") as run:
            run.log_metrics(3)  # type: ignore[arg-type]
    from tests.helpers import entries

    assert run.path is not None
    (line,) = entries(run.path, "logs")
    assert "metrics must be a mapping, got int" in line["msg"]


@pytest.mark.usefixtures("_strict")
def test_strict_runs_raise_instead() -> None:
    for _ in range(2):
        with pytest.raises(MlogWarning, match="text"):
            warn_once("cause", "text")


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_missing_stderr_is_no_reason_to_fail(stream: str | None) -> None:
    """Programs without a console have none."""
    broken = io.StringIO() if stream else None
    if broken:
        broken.close()
    with contextlib.redirect_stderr(broken):
        say("text")


def test_a_user_sees_the_warning_and_the_line() -> None:
    code = """
import mlog
with mlog.start_run("e") as run:
    run.log_metrics([1])
"""
    done = run_python(code, warnings="default")
    first, *source = done.stderr.splitlines()  # Python 3.13 shows the source as well
    assert first == "<string>:4: MlogWarning: metrics must be a mapping, got list"
    assert source in ([], ["  run.log_metrics([1])"])
