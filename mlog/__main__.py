"""`python -m mlog` is the command `mlog`."""

from mlog.cli import main

if __name__ == "__main__":
    main()
