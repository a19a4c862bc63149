"""Data sets and datastores, as far as a path."""

import importlib.util
from pathlib import Path

import pytest

from mlog.azureml.core import Dataset, Datastore, Workspace
from mlog.azureml.data import (
    DataPath,
    DataReference,
    DataType,
    FileDataset,
    TabularDataset,
)
from mlog.azureml.exceptions import UserErrorException

needs_pandas = pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None, reason="pandas is not installed"
)


@pytest.fixture(autouse=True)
def files() -> None:
    """Make some data in the current folder."""
    Path("data/inner").mkdir(parents=True)
    Path("data/a.csv").write_text("x,y\n1,2\n3,4\n")
    Path("data/inner/b.csv").write_text("x,y\n5,6\n")
    Path("data/note.txt").write_text("words")


def test_files_go_into_a_datastore_and_out(workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    reference = store.upload("data", target_path="in", overwrite=True)
    assert isinstance(reference, DataReference)
    assert sorted(p.name for p in Path(str(reference)).iterdir()) == [
        *("a.csv", "inner", "note.txt"),
    ]
    Path("data/a.csv").write_text("changed")
    store.upload_files(["data/a.csv"], target_path="in")
    assert (Path(str(reference)) / "a.csv").read_text() != "changed"
    store.upload_files(["./data/a.csv"], "data", target_path="in", overwrite=True)
    assert (Path(str(reference)) / "a.csv").read_text() == "changed"
    assert store.download("down", prefix="in", show_progress=False) == 3
    assert store.download("down", prefix="in") == 0
    assert Path("down/in/inner/b.csv").is_file()


def test_any_datastore_is_a_folder(workspace: Workspace) -> None:
    """Keys are not kept."""
    store = Datastore.register_azure_blob_container(
        workspace=workspace,
        datastore_name="blob",
        container_name="c",
        account_name="a",
        account_key="my-key",
    )
    assert Datastore.get(workspace, "blob").root == store.root
    assert store.root.is_relative_to(workspace.root)
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert workspace.datastores["never registered"].name == "never registered"
    assert set(workspace.datastores) >= {"blob", "workspaceblobstore"}
    store.set_as_default()
    assert Workspace.get("ws").get_default_datastore().name == "blob"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..\\x"])
def test_no_path_leads_out_of_a_datastore(workspace: Workspace, path: str) -> None:
    store = workspace.get_default_datastore()
    for call in (
        lambda: store.upload("data", target_path=path),
        lambda: store.download("down", prefix=path),
        lambda: str(store.path(path)),
        lambda: Dataset.File.from_files((store, path)),
    ):
        with pytest.raises(UserErrorException, match="leads out of"):
            call()


def test_what_is_not_there_cannot_be_uploaded(workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    with pytest.raises(UserErrorException, match="src_dir must be a folder"):
        store.upload("nothing")
    with pytest.raises(UserErrorException, match="there is no file nothing"):
        store.upload_files(["nothing"])
    with pytest.raises(UserErrorException, match="does not lie in"):
        store.upload_files(["data/a.csv"], relative_root="data/inner")


def test_a_reference_is_a_path_as_text(workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    reference = store.path("a").path("b").as_mount()
    assert str(reference) == str(store.root / "a" / "b")
    assert Path(reference) == store.root / "a" / "b"
    assert (reference.mode, reference.data_reference_name) == ("mount", "a_b")
    assert str(store.as_mount()) == str(store.root)
    path = DataPath(store, "a")
    assert str(path.create_data_reference("x").as_upload()) == str(store.root / "a")


@pytest.mark.parametrize("mode", ["as_mount", "as_download"])
def test_a_file_set_is_a_path_for_scripts(mode: str) -> None:
    folder = Dataset.File.from_files("data")
    one = Dataset.File.from_files("data/a.csv")
    some = Dataset.File.from_files("data/**/*.csv")
    both = Dataset.File.from_files(["data/a.csv", "data/inner"])
    here = Path("data").absolute()
    for data, expected in ((folder, here), (one, here / "a.csv"), (some, here)):
        config = getattr(data.as_named_input("x"), mode)()
        assert (config.name, str(config)) == ("x", str(expected))
        assert str(getattr(data, mode)()) == str(expected)
    assert str(both.as_mount()) == str(here)
    assert some.to_path() == ["/a.csv", "/inner/b.csv"]
    assert one.to_path() == ["/a.csv"]
    assert some.skip(1).take(5).to_path() == ["/inner/b.csv"]
    with folder.mount() as mounted:
        assert mounted.mount_point == str(here)


def test_a_file_set_is_copied_when_asked() -> None:
    some = Dataset.File.from_files("data/**/*.csv")
    copies = some.download("down")
    assert [Path(path).relative_to(Path("down").absolute()) for path in copies] == [
        *(Path("a.csv"), Path("inner/b.csv")),
    ]
    with pytest.raises(UserErrorException, match="overwrite=True"):
        some.download("down")
    some.download("down", overwrite=True)


def test_a_data_set_needs_files() -> None:
    with pytest.raises(UserErrorException, match="no files at"):
        Dataset.File.from_files("nothing")
    with pytest.raises(UserErrorException, match="is a URL; download it"):
        Dataset.File.from_files("https://example.org/x.csv?sig=secret")
    with pytest.raises(UserErrorException, match="must be a path"):
        Dataset.File.from_files(3)
    with pytest.raises(UserErrorException, match="with pandas"):
        Dataset.Tabular.from_sql_query("select 1")
    made = Dataset.File.from_files("nothing", validate=False)
    with pytest.raises(UserErrorException, match="no files at"):
        made.download()


def test_data_sets_are_registered_by_version(workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    first = Dataset.File.upload_directory("data", (store, "in"), pattern="*.csv")
    first.register(workspace, "numbers", description="words", tags={"a": "b"})
    assert (first.name, first.version) == ("numbers", 1)
    assert first.register(workspace, "numbers").version == 1
    second = Dataset.Tabular.from_delimited_files((store, "in/a.csv"))
    with pytest.raises(UserErrorException, match="create_new_version=True"):
        second.register(workspace, "numbers")
    second.register(workspace, "numbers", create_new_version=True)
    latest = Dataset.get_by_name(workspace, "numbers")
    assert isinstance(latest, TabularDataset)
    assert latest.version == 2
    old = Dataset.get_by_name(workspace, "numbers", version=1)
    assert isinstance(old, FileDataset)
    assert (old.description, old.tags) == ("words", {"a": "b"})
    assert Dataset.get_by_id(workspace, id=old.id).version == 1
    assert list(workspace.datasets) == ["numbers"]
    with pytest.raises(UserErrorException, match="registered: numbers"):
        Dataset.get_by_name(workspace, "nothing")
    with pytest.raises(UserErrorException, match="has the id"):
        Dataset.get_by_id(workspace, "nothing")


@needs_pandas
def test_a_table_is_read_by_pandas(workspace: Workspace) -> None:
    table = Dataset.Tabular.from_delimited_files(["data/a.csv", "data/inner/b.csv"])
    frame = table.to_pandas_dataframe()
    assert frame.to_dict("list") == {"x": [1, 3, 5], "y": [2, 4, 6]}
    assert table.take(1).to_pandas_dataframe().x.tolist() == [1]
    assert table.skip(1).keep_columns("y").to_pandas_dataframe().y.tolist() == [4, 6]
    assert list(table.drop_columns(["x"]).to_pandas_dataframe()) == ["y"]
    registered = Dataset.Tabular.register_pandas_dataframe(
        frame, workspace.get_default_datastore(), "frame"
    )
    assert registered.to_pandas_dataframe().equals(frame)


@needs_pandas
def test_steps_are_taken_in_the_order_they_are_asked_for() -> None:
    """As in the SDK, where each gives a data set of its own."""
    Path("data/n.csv").write_text("a,b,c\n" + "".join(f"{n},0,0\n" for n in range(9)))
    table = Dataset.Tabular.from_delimited_files("data/n.csv")
    for made, expected in (
        (table.take(5).skip(2), [2, 3, 4]),
        (table.skip(2).take(5), [2, 3, 4, 5, 6]),
        (table.take(3).take(8), [0, 1, 2]),
        (table.skip(1).skip(7), [8]),
    ):
        assert made.to_pandas_dataframe().a.tolist() == expected
    assert list(table.drop_columns("b").drop_columns("c").to_pandas_dataframe()) == [
        "a"
    ]
    assert list(table.keep_columns(["c", "a"]).to_pandas_dataframe()) == ["c", "a"]


@needs_pandas
def test_columns_have_the_types_asked_for() -> None:
    """A cell that is none of its type is missing."""
    Path("data/t.csv").write_text(
        "zip,alive,age,count,born,other\n007,1,3,4,2020-01-02,1\n08,0,x,,never,2\n"
    )
    types = {
        "zip": DataType.to_string(),
        "alive": DataType.to_bool(),
        "age": DataType.to_float(),
        "count": DataType.to_long(),
        "born": DataType.to_datetime(),
        "nothing": DataType.to_long(),
    }
    table = Dataset.Tabular.from_delimited_files("data/t.csv", set_column_types=types)
    frame = table.to_pandas_dataframe()
    assert frame.zip.tolist() == ["007", "08"]
    assert frame.alive.tolist() == [True, False]
    assert frame.age.isna().tolist() == [False, True]
    assert frame["count"].fillna(-1).tolist() == [4, -1]
    assert frame.born.dt.year[0] == 2020
    assert frame.born.isna().tolist() == [False, True]
    assert frame.other.tolist() == [1, 2]


@needs_pandas
def test_a_split_loses_nothing(workspace: Workspace) -> None:
    """Also after the parts are registered and found again."""
    Path("data/n.csv").write_text("a\n" + "".join(f"{n}\n" for n in range(200)))
    table = Dataset.Tabular.from_delimited_files("data/n.csv").skip(100)
    parts = table.random_split(0.8, seed=7)
    parts[0].register(workspace, "train")
    assert parts[0].register(workspace, "train").version == 1
    rows = [part.to_pandas_dataframe().a.tolist() for part in parts]
    assert sorted(rows[0] + rows[1]) == list(range(100, 200))
    assert 60 < len(rows[0]) < 95
    found = Dataset.get_by_name(workspace, "train")
    assert isinstance(found, TabularDataset)
    assert found.to_pandas_dataframe().a.tolist() == rows[0]
    first, second = table.random_split(0.5)
    both = [len(part.to_pandas_dataframe()) for part in (first, second)]
    assert sum(both) == 100
    with pytest.raises(UserErrorException, match=r"in \[0, 1\], got 80"):
        table.take_sample(80)


def test_files_are_split_too() -> None:
    some = Dataset.File.from_files("data/**/*")
    parts = some.random_split(0.5, seed=1)
    paths = [path for part in parts for path in part.to_path()]
    assert sorted(paths) == sorted(some.to_path())
    assert some.take_sample(1.0).to_path() == some.to_path()
    assert some.take_sample(0).to_path() == []


def test_without_pandas_a_table_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    table = Dataset.Tabular.from_delimited_files("data/a.csv")
    with pytest.raises(ImportError, match="pip install pandas"):
        table.to_pandas_dataframe()
