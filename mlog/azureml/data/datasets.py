"""Data sets: names for paths. Files are read where they lie, and never copied unasked.

A registered data set is a version of a document that says what its paths are; the files
may change, as they could before.
"""

import glob
import importlib
import os
import random
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from mlog.azureml.core import store
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.data.consumption import DatasetConsumptionConfig
from mlog.azureml.data.steps import left_of_frame, left_of_list
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import Partly

__all__ = ["AbstractDataset", "FileDataset", "TabularDataset", "load"]

KIND = "datasets"

_TRUTH = {"true": True, "1": True, "1.0": True}
_TRUTH |= {"false": False, "0": False, "0.0": False}
_PANDAS = "call to_pandas_dataframe() and use pandas"
_PATHS = "use the paths that dataset.files() returns"
_REGISTRY = "register it again with create_new_version=True"
_UNCHANGING = {
    name: _REGISTRY
    for name in ("add_tags", "remove_tags", "update", "unregister_all_versions")
} | dict.fromkeys(
    ("data_changed_time", "get_partition_key_values", "partition_keys"), _PATHS
)


class AbstractDataset(Partly):
    """A name for paths.

    Attributes:
        name, version, description, tags: As registered; None and {} before.
        id: Finds it again, if it is registered.
    """

    kind = ""

    def __init__(
        self, paths: Sequence[str], options: Mapping[str, Any] | None = None
    ) -> None:
        """Use `Dataset.File.from_files` or `Dataset.Tabular.from_delimited_files`.

        Args:
            paths: Absolute; files, folders, or patterns with `*`.
            options: How to read them; JSON.
        """
        self._paths = list(paths)
        self._options = dict(options or {})
        self.name: str | None = None
        self.version: int | None = None
        self.description: str | None = None
        self.tags: dict[str, str] = {}
        self.id = str(uuid.uuid5(uuid.NAMESPACE_URL, repr(self.document())))

    def __repr__(self) -> str:
        """Return kind, name and paths."""
        named = f" {self.name}:{self.version}" if self.name else ""
        return f"<{type(self).__name__}{named} {', '.join(self._paths)}>"

    @property
    def argument(self) -> str:
        """What stands for the data set in the arguments of a script."""
        return self.id

    def files(self) -> list[Path]:
        """Return the files there are now, in order of path."""
        found: set[Path] = set()
        for pattern in self._paths:
            for name in glob.glob(pattern, recursive=True, include_hidden=True):
                path = Path(name)
                inner = path.rglob("*") if path.is_dir() else [path]
                found.update(file for file in inner if file.is_file())
        return sorted(found)

    def take(self, count: int) -> Self:
        """Return the first rows, or files."""
        return self._then("take", count)

    def skip(self, count: int) -> Self:
        """Return all rows, or files, but the first."""
        return self._then("skip", count)

    def take_sample(self, probability: float, seed: int | None = None) -> Self:
        """Return each row, or file, with a probability.

        Raises:
            UserErrorException: The probability is not in [0, 1].
        """
        return self.random_split(probability, seed)[0]

    def random_split(
        self, percentage: float, seed: int | None = None
    ) -> tuple[Self, Self]:
        """Return two data sets: about this share of the rows, or files, and the rest.

        Args:
            percentage: In [0, 1].
            seed: The same seed splits the same data in the same way.

        Raises:
            UserErrorException: The share is not in [0, 1].
        """
        if not 0 <= percentage <= 1:
            raise UserErrorException(f"a share must be in [0, 1], got {percentage!r}")
        number = random.getrandbits(32) if seed is None else seed
        first = self._then("sample", 0.0, float(percentage), number)
        return first, self._then("sample", float(percentage), 1.0, number)

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """Return the data set as an input of a script, under a name."""
        return DatasetConsumptionConfig(name, self)

    def register(
        self,
        workspace: Workspace,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Self:
        """Store it under a name.

        The same paths again are the same version.

        Args:
            workspace: Where.
            name: Its name.
            description, tags: Some words on it.
            create_new_version: Whether other paths may become the next version.

        Raises:
            UserErrorException: The name is taken by other paths.
        """
        document = self.document()
        known = store.versions(workspace.root, KIND, name)
        same = (n for n in reversed(known) if _content(known[n]) == document)
        number = next(same, None)
        if number is None and known and not create_new_version:
            raise UserErrorException(
                f"data set {name!r} is registered with other paths; pass "
                "create_new_version=True"
            )
        if number is None:
            words = {
                "description": description,
                "tags": dict(tags or {}),
                "id": self.id,
            }
            number = store.add_version(workspace.root, KIND, name, document | words)
        self.name, self.version = name, number
        self.description, self.tags = description, dict(tags or {})
        return self

    def document(self) -> dict[str, Any]:
        """Return what the data set is, as JSON; `load` reads it."""
        return {"kind": self.kind, "paths": self._paths, "options": self._options}

    def _then(self, *step: Any) -> Self:
        return type(self)(
            self._paths, {**self._options, "steps": [*self._steps, [*step]]}
        )

    @property
    def _steps(self) -> list[Any]:
        return list(self._options.get("steps", []))


class FileDataset(AbstractDataset):
    """Files, as paths."""

    kind = "file"
    _beyond: ClassVar[Mapping[str, str]] = _UNCHANGING | dict.fromkeys(
        ("as_cache", "as_hdfs", "file_metadata", "filter", "hydrate"), _PATHS
    )

    @property
    def argument(self) -> str:
        """The path: of the only file or folder, else of the folder that holds all."""
        if len(self._paths) == 1 and not glob.has_magic(self._paths[0]):
            return self._paths[0]
        fixed = [_without_pattern(path) for path in self._paths]
        common = Path(os.path.commonpath(fixed))
        return str(common.parent if common.is_file() else common)

    def to_path(self) -> list[str]:
        """Return the files' paths, relative to `argument`, with a leading slash."""
        base = self._base()
        return [f"/{file.relative_to(base).as_posix()}" for file in self._taken()]

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return the data set as an input of a script, under the name "input"."""
        return DatasetConsumptionConfig(self.name or "input", self, "mount")

    def as_download(
        self, path_on_compute: str | None = None
    ) -> DatasetConsumptionConfig:
        """Return the data set as an input of a script, under the name "input"."""
        return DatasetConsumptionConfig(self.name or "input", self, "download")

    def mount(self, mount_point: str | None = None, **kwargs: Any) -> "Mount":
        """Return a context manager whose `mount_point` is the folder of the files."""
        return Mount(str(self._base()))

    def download(
        self,
        target_path: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        ignore_not_found: bool = False,
    ) -> list[str]:
        """Copy the files to a folder.

        Args:
            target_path: Default: a new temporary folder.
            overwrite: Whether files that are there already are replaced.
            ignore_not_found: Whether it may be that there are none.

        Returns:
            The paths of the copies.

        Raises:
            UserErrorException: There are no files, or one is there already.
        """
        files = self._taken()
        if not files and not ignore_not_found:
            raise UserErrorException(f"no files at {', '.join(self._paths)}")
        if target_path is None:
            import tempfile

            target_path = tempfile.mkdtemp(prefix="mlog-dataset-")
        base, to = self._base(), Path(target_path).absolute()
        copies = [to / file.relative_to(base) for file in files]
        taken = [copy for copy in copies if copy.exists()]
        if taken and not overwrite:
            raise UserErrorException(f"{taken[0]} is there already; overwrite=True")
        for file, copy in zip(files, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        return [str(copy) for copy in copies]

    def _taken(self) -> list[Path]:
        return left_of_list(self.files(), self._steps)

    def _base(self) -> Path:
        path = Path(self.argument)
        return path.parent if path.is_file() else path


class Mount:
    """What `FileDataset.mount` returns: the files are there already.

    Attributes:
        mount_point: The folder.
    """

    def __init__(self, mount_point: str) -> None:
        """Name the folder."""
        self.mount_point = mount_point

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def __enter__(self) -> "Mount":
        """Return it."""
        return self

    def __exit__(self, *args: object) -> None:
        """Do nothing."""


class TabularDataset(AbstractDataset):
    """Rows and columns, read from files by pandas."""

    kind = "tabular"
    _beyond: ClassVar[Mapping[str, str]] = _UNCHANGING | dict.fromkeys(
        (
            *("download", "filter", "get_profile", "get_profile_runs", "mount"),
            *("partition_by", "submit_profile_run", "time_after", "time_before"),
            *("time_between", "time_recent", "to_csv_files", "to_dask_dataframe"),
            *("to_parquet_files", "to_spark_dataframe", "with_timestamp_columns"),
            "timestamp_columns",
        ),
        _PANDAS,
    )

    def to_pandas_dataframe(
        self, on_error: str = "null", out_of_range_datetime: str = "null"
    ) -> Any:
        """Read the files, one below the other, as a `pandas.DataFrame`.

        Args:
            on_error, out_of_range_datetime: Not used.

        Raises:
            UserErrorException: There are no files.
            ImportError: pandas is not installed.
        """
        pandas = _pandas()
        files = self.files()
        if not files:
            raise UserErrorException(f"no files at {', '.join(self._paths)}")
        read = _reader(pandas, self._options)
        frames = [read(file) for file in files]
        frame = pandas.concat(frames, ignore_index=True)
        return left_of_frame(frame, self._steps)

    def keep_columns(
        self, columns: str | Sequence[str], validate: bool = False
    ) -> "TabularDataset":
        """Return these columns only."""
        return self._then("keep", [columns] if isinstance(columns, str) else [*columns])

    def drop_columns(self, columns: str | Sequence[str]) -> "TabularDataset":
        """Return the other columns only."""
        return self._then("drop", [columns] if isinstance(columns, str) else [*columns])


def load(said: Mapping[str, Any]) -> AbstractDataset:
    """Return the data set that a document describes."""
    kind = TabularDataset if said.get("kind") == "tabular" else FileDataset
    made = kind(said["paths"], said.get("options"))
    made.name, made.version = said.get("name"), said.get("version")
    made.description, made.tags = said.get("description"), dict(said.get("tags") or {})
    return made


def _content(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said.get(key) for key in ("kind", "paths", "options")}


def _without_pattern(path: str) -> str:
    """Return the part of a path before the first name with a `*`."""
    parts = Path(path).parts
    fixed = [
        part
        for n, part in enumerate(parts)
        if not any(map(glob.has_magic, parts[: n + 1]))
    ]
    return str(Path(*fixed))


def _pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ModuleNotFoundError as exc:
        raise ImportError(
            "to_pandas_dataframe needs pandas: pip install pandas"
        ) from exc


def _reader(pandas: Any, options: Mapping[str, Any]) -> Callable[[Path], Any]:
    form = options.get("format", "delimited")
    if form == "parquet":
        return lambda file: pandas.read_parquet(file)
    if form == "lines":
        return lambda file: pandas.read_json(file, lines=True)
    types: Mapping[str, str] = options.get("types") or {}
    texts = {name: str for name, kind in types.items() if kind in ("string", "stream")}

    def read(file: Path) -> Any:
        frame = pandas.read_csv(
            file,
            sep=options.get("separator", ","),
            header=0 if options.get("header", True) else None,
            encoding=options.get("encoding", "utf8"),
            dtype=texts if options.get("infer", True) else str,
        )
        for name in types.keys() & set(frame):
            frame[name] = _typed(pandas, frame[name], types[name])
        return frame

    return read


def _typed(pandas: Any, column: Any, kind: str) -> Any:
    """Return a column as one of the types of `DataType`."""
    if kind == "datetime":
        return pandas.to_datetime(column, errors="coerce")
    if kind in ("float", "long"):
        numbers = pandas.to_numeric(column, errors="coerce")
        return numbers.astype("float64" if kind == "float" else "Int64")
    if kind == "bool":
        truth = column.map(lambda cell: _TRUTH.get(str(cell).strip().lower()))
        return truth.astype("boolean")
    return column
