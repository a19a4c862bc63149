"""Beginning and end of a run, and what it says of them."""

import pytest

from mlog.azureml.core import Experiment, Run, Workspace


def test_a_run_is_running_until_it_is_ended(workspace: Workspace, run: Run) -> None:
    assert run.status == run.get_status() == "Running"
    assert workspace.get_run(run.id).get_status() == "Running"


def test_start_does_nothing_to_a_run_that_goes_on(run: Run) -> None:
    run.start()
    assert run.get_status() == "Running"


def test_complete_ends_a_run(run: Run) -> None:
    run.complete(_set_status=False)
    assert run.get_status() == "Running"
    run.complete()
    run.complete()
    assert run.status == run.get_status() == "Completed"
    assert run.get_detailed_status() == {"status": "Completed", "details": None}


def test_fail_keeps_text_and_code(run: Run) -> None:
    run.fail("out of memory", error_code="Resources")
    status = run.get_detailed_status()
    assert status["status"] == "Failed"
    assert "out of memory" in status["details"]
    error = run.get_details()["error"]["error"]
    assert (error["code"], error["message"]) == ("Resources", "out of memory")


def test_fail_keeps_an_exception_with_its_traceback(run: Run) -> None:
    try:
        [].pop()
    except IndexError as exc:
        run.fail(exc)
    error = run.get_details()["error"]["error"]
    assert error["code"] == "UserError"
    assert "pop from empty list" in error["message"]
    assert "Traceback" in error["debugInfo"]["stackTrace"]


def test_cancel_ends_a_run(run: Run) -> None:
    run.cancel()
    assert run.get_status() == "Canceled"


def test_flush_may_be_called_any_time(run: Run) -> None:
    run.flush()
    run.flush(timeout_seconds=1)
    run.complete()
    run.flush()
    assert run.get_status() == "Completed"


def test_a_block_ends_its_run(experiment: Experiment) -> None:
    with experiment.start_logging() as run:
        run.log("a", 1)
    assert run.get_status() == "Completed"


def test_an_exception_in_the_block_fails_the_run(experiment: Experiment) -> None:
    with pytest.raises(ZeroDivisionError), experiment.start_logging() as run:
        run.log("a", 1 / 0)
    assert run.get_status() == "Failed"


def test_details_have_the_keys_they_had(run: Run) -> None:
    run.add_properties({"a": "b"})
    run.complete()
    details = run.get_details()
    assert details["runId"] == run.id
    assert details["status"] == "Completed"
    assert details["startTimeUtc"] < details["endTimeUtc"]
    assert details["properties"] == {"a": "b"}
    assert {
        "target",
        "inputDatasets",
        "outputDatasets",
        "runDefinition",
        "logFiles",
    } <= {*details}
    assert run.wait_for_completion() == details


def test_there_is_nothing_to_clean(run: Run) -> None:
    run.complete()
    run.clean()
    assert run.get_status() == "Completed"
