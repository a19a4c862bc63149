"""`RunDetails`: a run, shown once as it is now."""

import sys
from typing import Any

from mlog.azureml.core.run import Run
from mlog.azureml.train.hyperdrive.run import HyperDriveRun
from mlog.run.api import Run as LocalRun

__all__ = ["RunDetails"]

_FACTS = ("status", "startTimeUtc", "endTimeUtc", "target")


class RunDetails:
    """Shows a run: as HTML in a notebook, as text elsewhere.

    The picture does not change by itself; call `show` again to see more.
    """

    def __init__(self, run_instance: Run) -> None:
        """Take the run.

        Raises:
            TypeError: It is no `azureml.core.Run`.
        """
        if not isinstance(run_instance, Run):
            raise TypeError(f"run_instance must be a Run, got {run_instance!r}")
        self._run = run_instance

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Show the run.

        Args:
            render_lib, widget_settings: Not used.
        """
        display = _notebook_display()
        if display is not None:
            display(self._run)
        else:
            print("\n".join(_lines(self.get_widget_data())))  # noqa: T201  # asked for

    def get_widget_data(self, widget_settings: Any = None) -> dict[str, Any]:
        """Return what is shown.

        Args:
            widget_settings: Not used.
        """
        run = self._run
        details = run.get_details()
        return {
            "status": details["status"],
            "run_id": run.id,
            "run_properties": {
                "experiment": run.experiment.name,
                "display_name": run.display_name,
                "folder": str(run.path),
                **{key: details.get(key) for key in _FACTS},
                "tags": run.get_tags(),
            },
            "run_metrics": LocalRun.get_metrics(run),
            "child_runs": _children(run),
            "run_logs": sorted(details["logFiles"]),
        }


def _children(run: Run) -> list[dict[str, Any]]:
    """Return the child runs, newest first; those of a sweep with the best one first."""
    if isinstance(run, HyperDriveRun):
        return run.get_children_sorted_by_primary_metric()
    children = run.get_children()
    return [{"run_id": child.id, "status": child.get_status()} for child in children]


def _lines(data: dict[str, Any]) -> list[str]:
    facts = data["run_properties"]
    lines = [f"Run {data['run_id']} of {facts['experiment']}: {data['status']}"]
    shown = ("startTimeUtc", "endTimeUtc", "folder")
    lines += [f"  {key}: {facts[key]}" for key in shown if facts[key]]
    lines += [f"  tag {key}: {value}" for key, value in facts["tags"].items()]
    lines += [f"  {key}: {_short(value)}" for key, value in data["run_metrics"].items()]
    for child in data["child_runs"]:
        line = f"  child {child['run_id']}: {child['status']}"
        if "hyperparameters" in child:
            best = child["best_primary_metric"]
            line += f" {child['hyperparameters']} {'' if best is None else best}"
        lines.append(line.rstrip())
    return lines


def _short(value: Any) -> str:
    """Return a metric on one line: of many values the last ones."""
    if isinstance(value, list) and len(value) > 6:
        last = ", ".join(map(str, value[-3:]))
        return f"… {last} ({len(value)} values)"
    return str(value)


def _notebook_display() -> Any:
    """Return what shows rich output in a notebook; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is None or not hasattr(shell, "kernel"):
        return None
    return ipython.display.display
