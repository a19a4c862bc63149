"""`Dataset.File` and `Dataset.Tabular`: ways to make data sets of paths."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.azureml.core.datastore import Datastore, inside
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.data.data_reference import DataReference
from mlog.azureml.data.datapath import DataPath
from mlog.azureml.data.datasets import FileDataset, TabularDataset
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import needs_azure

__all__ = ["DataType", "FileDatasetFactory", "TabularDatasetFactory", "paths_of"]


class DataType:
    """Types of columns; what is none of its type is missing, as in the SDK."""

    def __init__(self, name: str) -> None:
        """Use one of the methods."""
        self.name = name

    @staticmethod
    def to_bool() -> "DataType":
        """A truth value."""
        return DataType("bool")

    @staticmethod
    def to_float(decimal_mark: str = ".") -> "DataType":
        """A number."""
        return DataType("float")

    @staticmethod
    def to_long() -> "DataType":
        """A whole number."""
        return DataType("long")

    @staticmethod
    def to_string() -> "DataType":
        """A text."""
        return DataType("string")

    @staticmethod
    def to_datetime(formats: Any = None) -> "DataType":
        """A date."""
        return DataType("datetime")

    @staticmethod
    def to_stream(workspace: Any = None) -> "DataType":
        """A path."""
        return DataType("stream")


class FileDatasetFactory:
    """Makes `FileDataset`s."""

    @staticmethod
    def from_files(
        path: Any,
        validate: bool = True,
        partition_format: str | None = None,
        is_file: bool | None = None,
    ) -> FileDataset:
        """Name files.

        Args:
            path: A local path, `(datastore, path)`, `DataPath`, or a list of them;
                `*` and `**` are patterns.
            validate: Whether it is an error that nothing is there.
            partition_format, is_file: Not used.

        Raises:
            UserErrorException: Nothing is there, or it is a URL.
        """
        made = FileDataset(paths_of(path))
        if validate and not made.files():
            raise UserErrorException(f"no files at {', '.join(paths_of(path))}")
        return made

    @staticmethod
    def upload_directory(
        src_dir: str | os.PathLike[str],
        target: Any,
        pattern: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> FileDataset:
        """Copy a folder into a datastore, and name the files there.

        Args:
            src_dir: The folder.
            target: A datastore, `(datastore, path)` or `DataPath`.
            pattern: Only files that match it.
            overwrite: Whether files that are there already are replaced.
            show_progress: Not used.
        """
        datastore, path = _target(target)
        source = Path(src_dir)
        files = [f for f in sorted(source.rglob(pattern or "*")) if f.is_file()]
        datastore.upload_files(files, source, path, overwrite)
        return FileDataset(paths_of((datastore, path or ".")))


class TabularDatasetFactory:
    """Makes `TabularDataset`s."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Mapping[str, DataType] | None = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Name CSV files; see `FileDatasetFactory.from_files`."""
        types = set_column_types or {}
        options = {
            "format": "delimited",
            "separator": separator,
            "header": header not in (False, "NO_HEADERS"),
            "encoding": encoding,
            "infer": infer_column_types,
            "types": {name: kind.name for name, kind in types.items()},
        }
        return _tabular(path, validate, options)

    @staticmethod
    def from_parquet_files(
        path: Any, validate: bool = True, *args: Any, **kwargs: Any
    ) -> TabularDataset:
        """Name Parquet files; see `FileDatasetFactory.from_files`."""
        return _tabular(path, validate, {"format": "parquet"})

    @staticmethod
    def from_json_lines_files(
        path: Any, validate: bool = True, *args: Any, **kwargs: Any
    ) -> TabularDataset:
        """Name JSON Lines files; see `FileDatasetFactory.from_files`."""
        return _tabular(path, validate, {"format": "lines"})

    @staticmethod
    def from_sql_query(*args: Any, **kwargs: Any) -> TabularDataset:
        """Raise: there is no database.

        Raises:
            UserErrorException: Always.
        """
        needs_azure("Dataset.Tabular.from_sql_query", "read the table with pandas")

    @staticmethod
    def register_pandas_dataframe(
        dataframe: Any,
        target: Any,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        show_progress: bool = True,
        **kwargs: Any,
    ) -> TabularDataset:
        """Write a `pandas.DataFrame` to a datastore as CSV, and register it."""
        datastore, path = _target(target)
        folder = inside(datastore.root, path or name)
        folder.mkdir(parents=True, exist_ok=True)
        dataframe.to_csv(folder / f"{name}.csv", index=False)
        made = TabularDatasetFactory.from_delimited_files(str(folder / f"{name}.csv"))
        return made.register(_workspace(datastore), name, description, tags, True)


def paths_of(path: Any) -> list[str]:
    """Return absolute paths for what a data set may be made of.

    Raises:
        UserErrorException: It is a URL, or nothing of the kind.
    """
    if isinstance(path, list):
        return [one for item in path for one in paths_of(item)]
    if isinstance(path, tuple) and len(path) == 2 and isinstance(path[0], Datastore):
        inner = path[1] if isinstance(path[1], list | tuple) else [path[1]]
        return [str(inside(path[0].root, item)) for item in inner]
    if isinstance(path, tuple):
        return paths_of(list(path))
    if isinstance(path, DataPath):
        return [str(inside(path.datastore.root, path.path_on_datastore or "."))]
    if isinstance(path, DataReference):
        return [str(path)]
    if isinstance(path, Datastore):
        return [str(path.root)]
    if not isinstance(path, str | os.PathLike):
        raise UserErrorException(
            f"path must be a path, (datastore, path) or a list of them, got {path!r}"
        )
    text = os.fspath(path)
    if "://" in text:
        raise UserErrorException(
            f"{text.partition('?')[0]} is a URL; download it and give the local path"
        )
    return [os.path.abspath(os.path.expanduser(text))]


def _tabular(path: Any, validate: bool, options: dict[str, Any]) -> TabularDataset:
    made = TabularDataset(paths_of(path), options)
    if validate and not made.files():
        raise UserErrorException(f"no files at {', '.join(paths_of(path))}")
    return made


def _target(target: Any) -> tuple[Datastore, str | None]:
    if isinstance(target, tuple):
        return target[0], target[1]
    if isinstance(target, DataPath):
        return target.datastore, target.path_on_datastore
    return target, None


def _workspace(datastore: Datastore) -> Workspace:
    return datastore.workspace
