"""Holds `hyperdrive`; what is missing says so by itself (see `mlog.azureml.reach`)."""

__all__: list[str] = []
