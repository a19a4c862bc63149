"""`python -m mlog.azureml script.py args…`: run a script with the alias active."""

import sys
from collections.abc import Sequence

from mlog.azureml.alias import activate
from mlog.azureml.script import run_module, run_script

_USAGE = """\
usage: python -m mlog.azureml [--force] script.py [arguments]
       python -m mlog.azureml [--force] -m module [arguments]

Run a script that was written for the Azure ML SDK v1, unmodified: `import azureml`
finds mlog.azureml, in this process and its children. Runs go where mlog keeps them
(`mlog path` prints the newest).

  --force   also where azureml-core is installed, which else is used
"""


def main(args: Sequence[str]) -> None:
    """Run what the command line names; ends as that does."""
    rest = list(args)
    force = rest[:1] == ["--force"]
    rest = rest[force:]
    if rest[:1] in (["-h"], ["--help"]):
        print(_USAGE, end="")  # noqa: T201  # a command's own output
        return
    as_module = rest[:1] == ["-m"]
    rest = rest[as_module:]
    if not rest or rest[0].startswith("-"):
        print(_USAGE, end="", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    activate(force)
    (run_module if as_module else run_script)(rest[0], rest[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
