"""Empty, but for what its missing modules say (see `mlog.azureml.reach`)."""

__all__: list[str] = []
