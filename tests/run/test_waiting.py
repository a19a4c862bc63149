"""How a run is doing, and waiting for its end."""

import io
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import ActivityFailedError, MlogError
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import Submitted, submit
from mlog.reader.state import read_state
from mlog.run.api import Run
from mlog.run.launched import BUILD, BUILD_LOG, request_cancel
from mlog.run.open import open_run
from mlog.run.printed import write_lines
from mlog.run.recorder import Recorder
from mlog.run.start import start_run
from mlog.run.waiting import follow
from tests.helpers import FakeClock
from tests.launch.helpers import events, is_alive, wait_until

Launch = Callable[[str], Run]

HANG = "import time\nprint('begun')\nwhile True: time.sleep(0.05)"


@pytest.fixture
def launch(tmp_path: Path, run_dir: Path) -> Iterator[Launch]:
    """Return a function that submits a program text, and opens its run."""
    submitted: list[Submitted] = []

    def start(code: str) -> Run:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(code)
        config = ScriptRunConfig(source, "train.py", ["-n", "3"])
        submitted.append(submit(config, experiment="e", root=run_dir))
        return open_run(submitted[-1].run_id)

    yield start
    for each in submitted:
        if is_alive(each.pid):
            request_cancel(each.folder)
        wait_until(partial(_is_gone, each.pid), f"end of {each}")


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


# --- waiting -------------------------------------------------------------------------


def test_waiting_returns_the_details(launch: Launch) -> None:
    run = launch("print('done')")
    details = run.wait_for_completion()
    assert details["status"] == "Completed"
    assert details["runId"] == run.id
    assert details == run.get_details()


def test_output_is_shown_in_v1s_frame(
    launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = launch("import time\nprint('one')\ntime.sleep(0.2)\nprint()\nprint('two')")
    run.wait_for_completion(show_output=True)
    shown = re.sub(r"Duration: .* s", "Duration: N s", capsys.readouterr().out)
    shown = re.sub(r"local on \S+: \d+ × .*; GPU: .+", "local on HOST: HARDWARE", shown)
    assert shown == (
        f"RunId: {run.id}\n"
        f"Folder: {run.path}\n"
        "Target: local on HOST: HARDWARE\n"
        "\n"
        "Streaming user_logs/std_log.txt\n"
        "===============================\n"
        "\n"
        "one\n"
        "\n"
        "two\n"
        "\n"
        "Execution Summary\n"
        "=================\n"
        f"RunId: {run.id}\n"
        f"Folder: {run.path}\n"
        "Status: Completed\n"
        "Duration: N s\n"
        "\n"
    )


def test_the_log_of_an_environment_has_a_section_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start_run("e")
    run._event("run.launch", {"script": "train.py", "target": "local"})
    recorder = run.receiver
    assert isinstance(recorder, Recorder)
    for logger, text in ((BUILD, "collecting"), (BUILD, "built"), ("stdout", "hello")):
        write_lines(recorder.writer, logger, [text])
    run.complete()
    open_run(run.id).wait_for_completion(show_output=True)
    shown = capsys.readouterr().out
    assert (
        f"\nStreaming {BUILD_LOG}\n{'=' * (10 + len(BUILD_LOG))}\n\n"
        "collecting\nbuilt\n"
        "\nStreaming user_logs/std_log.txt\n===============================\n\nhello\n"
    ) in shown


def test_a_script_that_never_ran_has_no_section(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the environment could not be built, nothing was printed."""
    run = start_run("e")
    run._event("run.launch", {"script": "train.py", "target": "local"})
    recorder = run.receiver
    assert isinstance(recorder, Recorder)
    write_lines(recorder.writer, BUILD, ["no such package"])
    run.end("Failed", {"msg": "not to be had"})
    open_run(run.id).wait_for_completion(show_output=True, raise_on_error=False)
    shown = capsys.readouterr().out
    assert "no such package\n\nExecution Summary\n" in shown
    assert "Streaming user_logs" not in shown


def test_a_long_line_is_shown_whole(
    launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch("print('x' * 200_000)").wait_for_completion(show_output=True)
    assert "x" * 200_000 in capsys.readouterr().out.splitlines()


def test_a_run_that_fails_is_an_error_with_its_last_lines(launch: Launch) -> None:
    with pytest.raises(ActivityFailedError, match="ZeroDivisionError: division by z"):
        launch("1 / 0").wait_for_completion()


def test_a_failure_is_shown_where_it_is_no_error(
    launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = launch("raise SystemExit(3)")
    details = run.wait_for_completion(show_output=True, raise_on_error=False)
    assert details["status"] == "Failed"
    assert details["error"]["error"]["code"] == "UserError"
    shown = capsys.readouterr().out
    assert "Status: Failed\n" in shown
    assert '"message": "exit code 3"' in shown


def test_a_cancelled_run_is_no_error(launch: Launch) -> None:
    run = launch(HANG)
    assert run.path is not None
    assert request_cancel(run.path)
    assert run.wait_for_completion()["status"] == "Canceled"


def test_ctrl_c_leaves_the_run_running(
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if "begun" in text:
                os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    run = launch(HANG)
    monkeypatch.setattr("sys.stdout", Screen())
    with pytest.raises(KeyboardInterrupt):
        run.wait_for_completion(show_output=True)
    assert run.get_status() == "Running"
    assert f"run {run.id} goes on" in capsys.readouterr().err


def test_several_may_wait_for_one_run(launch: Launch) -> None:
    run = launch("print('x')")
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(run.wait_for_completion()["status"])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Completed"] * 3


def test_a_run_of_this_process_cannot_be_waited_for() -> None:
    with start_run() as run, pytest.raises(MlogError, match="this very process"):
        run.wait_for_completion()


def test_waiting_for_a_run_that_has_ended_returns_at_once() -> None:
    with start_run() as run:
        run.log("loss", 0.5)
    assert run.path is not None
    follow(run.path, sleep=_never)
    assert run.wait_for_completion()["status"] == "Completed"


def test_lines_of_a_run_that_is_no_script_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import logging

    with start_run() as run:
        logging.getLogger("train").warning("careful")
    run.wait_for_completion(show_output=True)
    shown = capsys.readouterr().out
    assert "Streaming logs.jsonl\n" in shown
    assert "WARNING train: careful\n" in shown


def test_waiting_ends_when_nobody_writes_the_run_any_more(
    launch: Launch, fake_clock: FakeClock
) -> None:
    run = launch(HANG)
    assert run.path is not None
    wait_until((run.path / "logs.jsonl").exists, "it runs")
    (supervisor,) = [w.pid for w in read_state(run.path).writers if w.main]
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    os.killpg(events(run.path, "run.status")[-1]["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(supervisor), "the supervisor is gone")
    state = follow(run.path, sleep=fake_clock.advance, clock=fake_clock)
    assert state.status == "NotResponding"
    with pytest.raises(ActivityFailedError, match="has no end"):
        run.wait_for_completion()


def test_each_entry_is_read_once(fake_clock: FakeClock) -> None:
    """And those of other writers that came just before the end are not missed."""
    run = start_run()
    folder = run.path
    assert folder is not None
    seen: list[Mapping[str, Any]] = []
    rounds = iter(range(100))

    def sleep(seconds: float) -> None:
        fake_clock.advance(seconds)
        number = next(rounds)
        run.log("n", number)
        if number == 3:
            run.complete()

    follow(folder, seen.append, sleep=sleep, clock=fake_clock)
    values = [entry["metric"]["n"] for entry in seen if "metric" in entry]
    assert values == [0, 1, 2, 3]
    assert [e for e in seen if e.get("event") == "run.end"]


def test_pauses_grow_and_are_short_again_after_an_entry(fake_clock: FakeClock) -> None:
    run = start_run()
    assert run.path is not None
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        fake_clock.advance(seconds)
        pauses.append(seconds)
        if len(pauses) == 16:
            run.log("n", 1)
        if len(pauses) == 18:
            run.complete()

    follow(run.path, sleep=sleep, clock=fake_clock)
    assert pauses[:16] == sorted(pauses[:16])
    assert pauses[15] == 1.0
    assert pauses[16] == pauses[0] == 0.005


def _never(seconds: float) -> None:
    pytest.fail("there is nothing to wait for")


# --- looking -------------------------------------------------------------------------


def test_status_is_that_of_the_files(launch: Launch) -> None:
    run = launch(HANG)
    wait_until(lambda: run.get_status() == "Running", "it runs")
    assert run.get_detailed_status() == {"status": "Running", "details": None}


def test_the_detailed_status_says_what_ended_the_run() -> None:
    run = start_run()
    run.fail("out of data")
    assert run.get_status() == "Failed"
    assert run.get_detailed_status() == {"status": "Failed", "details": "out of data"}


def test_details_have_v1s_keys(launch: Launch) -> None:
    run = launch("print('x')")
    details = run.wait_for_completion()
    assert list(details) == [
        *("runId", "target", "status", "startTimeUtc", "endTimeUtc", "properties"),
        *("inputDatasets", "outputDatasets", "runDefinition", "logFiles"),
        "submittedBy",
    ]
    assert details["target"] == "local"
    assert details["startTimeUtc"] < details["endTimeUtc"]
    assert details["runDefinition"]["script"] == "train.py"
    assert details["runDefinition"]["arguments"] == ["-n", "3"]
    assert run.path is not None
    url = (run.path / "artifacts/user_logs/std_log.txt").as_uri()
    assert details["logFiles"] == {"user_logs/std_log.txt": url}


def test_the_error_has_v1s_shape() -> None:
    with pytest.raises(ValueError, match="wrong"), start_run() as run:
        raise ValueError("wrong")
    error = run.get_details()["error"]["error"]
    assert (error["code"], error["message"]) == ("UserError", "ValueError: wrong")
    assert error["debugInfo"]["stackTrace"].startswith("Traceback")


def test_details_with_logs_hold_the_text(launch: Launch) -> None:
    run = launch("print('café')")
    run.wait_for_completion()
    logs = run.get_details_with_logs()["logFiles"]
    assert logs == {"user_logs/std_log.txt": "café\n"}


def test_all_logs_are_copied(launch: Launch, tmp_path: Path) -> None:
    run = launch("print('x')\nimport os; os.mkdir('logs'); open('logs/a.log', 'w')")
    run.wait_for_completion()
    copies = run.get_all_logs(tmp_path / "copies")
    assert copies == [
        str(tmp_path / "copies/logs/a.log"),
        str(tmp_path / "copies/user_logs/std_log.txt"),
    ]
    assert Path(copies[1]).read_text() == "x\n"


def test_logs_go_to_v1s_folder_by_default(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launch("print('x')")
    run.wait_for_completion()
    monkeypatch.chdir(tmp_path)
    assert run.get_all_logs() == [f"assets/{run.id}/user_logs/std_log.txt"]


def test_a_run_that_is_off_has_a_status_and_no_details() -> None:
    with start_run(disabled=True) as run:
        assert run.get_status() == "Running"
        assert run.get_detailed_status() == {"status": "Running", "details": None}
        with pytest.raises(MlogError, match="is off"):
            run.get_details()


def test_only_a_submitted_script_can_be_asked_to_end() -> None:
    run = start_run()
    assert run.path is not None
    assert not request_cancel(run.path)
    run.complete()
    assert not request_cancel(run.path)
