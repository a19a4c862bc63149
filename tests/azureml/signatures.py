"""The SDK's `Run` and `Experiment`: every public member, with its arguments.

Source: azureml-core 1.61.0.post4, `core/run.py` and `core/experiment.py`. A row names
the test that shows what the member does here, or the error it raises and why.
"""

from dataclasses import dataclass

__all__ = ["EXPERIMENT", "RUN", "RUN_FUNCTIONS", "Row"]


@dataclass(frozen=True)
class Row:
    """One member.

    Attributes:
        name: As in the SDK.
        arguments: As it declares them, without self; None: a property.
        test: Where its behaviour is shown, `<file>::<test>` in this folder.
        call: Arguments to see the error with.
        error: Text of the `UserErrorException` it raises instead.
        why: Why it does.
        settable: Whether a property may be set.
    """

    name: str
    arguments: str | None
    test: str = ""
    call: str = ""
    error: str = ""
    why: str = ""
    settable: bool = False


_CONTEXT = "test_context.py"
_FAMILY = "test_family.py"
_FILES = "test_files.py"
_LIFE = "test_life.py"
_METRICS = "test_metrics.py"
_RUN = "test_run.py"
_SUBMIT = "test_submit.py"
_EXPERIMENT = "test_experiment.py"

RUN = [
    Row(
        "__init__",
        "experiment, run_id, outputs=None, **kwargs",
        f"{_RUN}::test_a_run_is_had_by_experiment_and_id",
    ),
    # --- getting hold of runs
    Row(
        "get_context",
        "allow_offline=True, used_for_context_manager=False, **kwargs",
        f"{_CONTEXT}::test_a_script_that_nobody_submitted_gets_a_real_run",
    ),
    Row(
        "get_submitted_run",
        "**kwargs",
        f"{_CONTEXT}::test_without_a_launcher_there_is_no_submitted_run",
    ),
    Row("get", "workspace, run_id", f"{_RUN}::test_a_run_is_had_by_workspace_and_id"),
    Row(
        "list",
        "experiment, type=None, tags=None, properties=None, status=None, "
        "include_children=False, _rehydrate_runs=True",
        f"{_RUN}::test_runs_are_listed_newest_first",
    ),
    Row(
        "list_by_compute",
        "compute, type=None, tags=None, properties=None, status=None",
        f"{_SUBMIT}::test_runs_of_a_compute_target_are_listed_while_they_go_on",
    ),
    Row(
        "add_type_provider",
        "runtype, run_factory",
        f"{_SUBMIT}::test_a_type_of_runs_may_be_given_out_as_something_else",
    ),
    # --- what it is
    Row("id", None, f"{_RUN}::test_a_run_says_what_it_is"),
    Row("name", None, f"{_RUN}::test_a_run_says_what_it_is"),
    Row("type", None, f"{_SUBMIT}::test_a_submitted_script_has_a_type"),
    Row("number", None, f"{_RUN}::test_runs_of_an_experiment_are_numbered"),
    Row("status", None, f"{_LIFE}::test_a_run_is_running_until_it_is_ended"),
    Row("experiment", None, f"{_RUN}::test_a_run_knows_experiment_and_workspace"),
    Row("parent", None, f"{_FAMILY}::test_a_child_knows_its_parent"),
    Row(
        "display_name",
        None,
        f"{_RUN}::test_name_and_description_may_change",
        settable=True,
    ),
    Row(
        "description",
        None,
        f"{_RUN}::test_name_and_description_may_change",
        settable=True,
    ),
    Row("tags", None, f"{_RUN}::test_tags_may_change"),
    Row("properties", None, f"{_RUN}::test_properties_are_set_once"),
    Row("input_datasets", None, f"{_SUBMIT}::test_a_script_finds_its_data_by_name"),
    Row("output_datasets", None, f"{_SUBMIT}::test_a_script_finds_its_data_by_name"),
    Row("get_portal_url", "", f"{_RUN}::test_the_portal_is_the_folder"),
    Row("get_docs_url", "", f"{_RUN}::test_the_portal_is_the_folder"),
    Row("get_environment", "", f"{_SUBMIT}::test_a_run_keeps_its_environment"),
    # --- life
    Row("start", "", f"{_LIFE}::test_start_does_nothing_to_a_run_that_goes_on"),
    Row("complete", "_set_status=True", f"{_LIFE}::test_complete_ends_a_run"),
    Row(
        "fail",
        "error_details=None, error_code=None, _set_status=True",
        f"{_LIFE}::test_fail_keeps_text_and_code",
    ),
    Row("cancel", "", f"{_LIFE}::test_cancel_ends_a_run"),
    Row("flush", "timeout_seconds=300", f"{_LIFE}::test_flush_may_be_called_any_time"),
    Row("__enter__", "", f"{_LIFE}::test_a_block_ends_its_run"),
    Row(
        "__exit__",
        "exc_type, exc_value, traceback",
        f"{_LIFE}::test_an_exception_in_the_block_fails_the_run",
    ),
    Row("get_status", "", f"{_LIFE}::test_complete_ends_a_run"),
    Row("get_detailed_status", "", f"{_LIFE}::test_fail_keeps_text_and_code"),
    Row("get_details", "", f"{_LIFE}::test_details_have_the_keys_they_had"),
    Row("get_details_with_logs", "", f"{_SUBMIT}::test_what_a_script_prints_is_kept"),
    Row(
        "get_all_logs",
        "destination=None",
        f"{_SUBMIT}::test_what_a_script_prints_is_kept",
    ),
    Row(
        "wait_for_completion",
        "show_output=False, wait_post_processing=False, raise_on_error=True",
        f"{_SUBMIT}::test_waiting_for_a_script_that_fails_raises",
    ),
    # --- family
    Row(
        "child_run",
        "name=None, run_id=None, outputs=None",
        f"{_FAMILY}::test_a_child_knows_its_parent",
    ),
    Row(
        "create_children",
        "count=None, tag_key=None, tag_values=None",
        f"{_FAMILY}::test_children_are_created_by_count_or_by_tag",
    ),
    Row(
        "get_children",
        "recursive=False, tags=None, properties=None, type=None, status=None, "
        "_rehydrate_runs=True",
        f"{_FAMILY}::test_children_are_found_by_tag_and_status",
    ),
    Row(
        "submit_child",
        "config, tags=None, **kwargs",
        f"{_SUBMIT}::test_a_script_is_submitted_as_a_child",
    ),
    # --- words
    Row("tag", "key, value=None", f"{_RUN}::test_tags_may_change"),
    Row("set_tags", "tags", f"{_RUN}::test_tags_may_change"),
    Row("get_tags", "", f"{_RUN}::test_tags_may_change"),
    Row("remove_tags", "tags", f"{_RUN}::test_tags_may_change"),
    Row("add_properties", "properties", f"{_RUN}::test_properties_are_set_once"),
    Row("get_properties", "", f"{_RUN}::test_properties_are_set_once"),
    # --- metrics
    Row(
        "log",
        "name, value, description='', step=None",
        f"{_METRICS}::test_a_value_is_itself_and_several_are_a_list",
    ),
    Row(
        "log_list",
        "name, value, description=''",
        f"{_METRICS}::test_lists_stay_lists_and_go_on",
    ),
    Row(
        "log_row",
        "name, description=None, **kwargs",
        f"{_METRICS}::test_rows_become_columns",
    ),
    Row(
        "log_table",
        "name, value, description=''",
        f"{_METRICS}::test_a_table_is_columns",
    ),
    Row(
        "log_image",
        "name, path=None, plot=None, description=''",
        f"{_METRICS}::test_an_image_is_a_file_of_the_run",
    ),
    Row(
        "log_confusion_matrix",
        "name, value, description=''",
        f"{_METRICS}::test_charts_are_kept_as_they_are",
    ),
    Row(
        "log_accuracy_table",
        "name, value, description=''",
        f"{_METRICS}::test_charts_are_kept_as_they_are",
    ),
    Row(
        "log_residuals",
        "name, value, description=''",
        f"{_METRICS}::test_charts_are_kept_as_they_are",
    ),
    Row(
        "log_predictions",
        "name, value, description=''",
        f"{_METRICS}::test_charts_are_kept_as_they_are",
    ),
    Row(
        "get_metrics",
        "name=None, recursive=False, run_type=None, populate=False",
        f"{_METRICS}::test_metrics_of_all_children_come_by_run",
    ),
    # --- files
    Row(
        "upload_file",
        "name, path_or_stream, datastore_name=None",
        f"{_FILES}::test_files_go_up_and_down",
    ),
    Row(
        "upload_files",
        "names, paths, return_artifacts=False, timeout_seconds=None, "
        "datastore_name=None",
        f"{_FILES}::test_several_files_go_up_and_down",
    ),
    Row(
        "upload_folder",
        "name, path, datastore_name=None",
        f"{_FILES}::test_a_folder_goes_up",
    ),
    Row("get_file_names", "", f"{_FILES}::test_files_go_up_and_down"),
    Row(
        "download_file",
        "name, output_file_path=None, _validate_checksum=False",
        f"{_FILES}::test_files_go_up_and_down",
    ),
    Row(
        "download_files",
        "prefix=None, output_directory=None, output_paths=None, batch_size=100, "
        "append_prefix=True, timeout_seconds=None",
        f"{_FILES}::test_several_files_go_up_and_down",
    ),
    Row(
        "take_snapshot",
        "file_or_folder_path",
        f"{_FILES}::test_a_snapshot_is_taken_once_and_restored_as_a_zip",
    ),
    Row(
        "get_snapshot_id",
        "",
        f"{_FILES}::test_a_snapshot_is_taken_once_and_restored_as_a_zip",
    ),
    Row(
        "restore_snapshot",
        "snapshot_id=None, path=None",
        f"{_FILES}::test_a_snapshot_is_taken_once_and_restored_as_a_zip",
    ),
    Row(
        "register_model",
        "model_name, model_path=None, tags=None, properties=None, "
        "model_framework=None, model_framework_version=None, description=None, "
        "datasets=None, sample_input_dataset=None, sample_output_dataset=None, "
        "resource_configuration=None, **kwargs",
        f"{_FILES}::test_files_of_a_run_become_a_model",
    ),
    Row("clean", "", f"{_LIFE}::test_there_is_nothing_to_clean"),
    # --- what only the cloud had
    Row(
        "get_secret",
        "name",
        call="'KEY'",
        error="os.environ['KEY']",
        why="there is no key vault, and mlog stores no secrets",
    ),
    Row(
        "get_secrets",
        "secrets",
        call="['KEY']",
        error="read environment variables",
        why="there is no key vault, and mlog stores no secrets",
    ),
]

RUN_FUNCTIONS = [
    Row(
        "get_run",
        "experiment, run_id, rehydrate=True, clean_up=True",
        f"{_RUN}::test_a_run_is_had_by_experiment_and_id",
    ),
]

EXPERIMENT = [
    Row(
        "__init__",
        "workspace, name, **kwargs",
        f"{_EXPERIMENT}::test_any_text_names_an_experiment",
    ),
    Row("name", None, f"{_EXPERIMENT}::test_any_text_names_an_experiment"),
    Row("id", None, f"{_EXPERIMENT}::test_an_experiment_without_runs_can_be_forgotten"),
    Row("workspace", None, f"{_EXPERIMENT}::test_any_text_names_an_experiment"),
    Row("tags", None, f"{_EXPERIMENT}::test_tags_of_an_experiment_may_change"),
    Row(
        "archived_time",
        None,
        f"{_EXPERIMENT}::test_an_archived_experiment_is_not_listed",
    ),
    Row(
        "submit",
        "config, tags=None, **kwargs",
        f"{_SUBMIT}::test_a_submitted_script_gets_the_run",
    ),
    Row(
        "start_logging",
        "*args, **kwargs",
        f"{_EXPERIMENT}::test_start_logging_takes_the_arguments_it_had",
    ),
    Row(
        "get_runs",
        "type=None, tags=None, properties=None, include_children=False",
        f"{_EXPERIMENT}::test_runs_are_had_with_or_without_children",
    ),
    Row("archive", "", f"{_EXPERIMENT}::test_an_archived_experiment_is_not_listed"),
    Row(
        "reactivate",
        "new_name=None",
        f"{_EXPERIMENT}::test_an_archived_experiment_is_not_listed",
    ),
    Row(
        "tag",
        "key, value=None",
        f"{_EXPERIMENT}::test_tags_of_an_experiment_may_change",
    ),
    Row("set_tags", "tags", f"{_EXPERIMENT}::test_tags_of_an_experiment_may_change"),
    Row("remove_tags", "tags", f"{_EXPERIMENT}::test_tags_of_an_experiment_may_change"),
    Row("refresh", "", f"{_EXPERIMENT}::test_tags_of_an_experiment_may_change"),
    Row(
        "list",
        "workspace, experiment_name=None, view_type='ActiveOnly', tags=None",
        f"{_EXPERIMENT}::test_an_archived_experiment_is_not_listed",
    ),
    Row(
        "delete",
        "workspace, experiment_id",
        f"{_EXPERIMENT}::test_an_experiment_without_runs_can_be_forgotten",
    ),
    Row(
        "from_directory",
        "path, auth=None",
        call="'.'",
        error="use Experiment(Workspace.from_config(path), name)",
        why="folders are attached to no experiment",
    ),
    Row(
        "get_portal_url",
        "",
        f"{_EXPERIMENT}::test_the_portal_of_an_experiment_is_its_folder",
    ),
    Row(
        "get_docs_url",
        "",
        f"{_EXPERIMENT}::test_the_portal_of_an_experiment_is_its_folder",
    ),
]
