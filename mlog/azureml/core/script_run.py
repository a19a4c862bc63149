"""`ScriptRun`: a submitted run; there is no other kind."""

from mlog.azureml.core.run import Run as ScriptRun

__all__ = ["ScriptRun"]
