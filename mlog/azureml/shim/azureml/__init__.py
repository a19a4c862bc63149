"""Found by child processes of a program that runs with the alias active.

Python imports this file as `azureml`; it puts the real thing in its place.
"""

import sys

from mlog.azureml.alias import activate

if __name__ == "azureml":
    # Whether to use mlog's modules was decided in the parent.
    del sys.modules[__name__]
    activate(force=True)
    import azureml  # type: ignore[import-not-found]  # noqa: F401  # now the alias
