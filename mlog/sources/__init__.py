"""Where entries come from besides a program's own loggers.

`copies` writes runs that another tool has recorded; `tensorboard`, `csvlog`, `mlflow`
and `mlruns` read what such tools keep.
"""
