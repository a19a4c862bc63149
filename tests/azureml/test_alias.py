"""`import azureml` finds mlog, module by module, and only when asked to."""

import importlib
import importlib.util
import os
import pickle
import sys
from pathlib import Path

import pytest

import mlog.azureml
from mlog.azureml import activate, deactivate, is_active
from mlog.azureml.exceptions import UserErrorException
from tests.helpers import run_python

PACKAGE = Path(mlog.azureml.__file__).parent

# Modules that scripts import from, as the SDK had them.
NAMES = """
azureml azureml.core azureml.core.authentication azureml.core.compute
azureml.core.compute_target azureml.core.conda_dependencies azureml.core.dataset
azureml.core.datastore azureml.core.environment azureml.core.exceptions
azureml.core.experiment azureml.core.model azureml.core.run azureml.core.runconfig
azureml.core.script_run azureml.core.script_run_config azureml.core.workspace
azureml.data azureml.data.data_reference azureml.data.datapath
azureml.data.dataset_consumption_config azureml.data.dataset_factory
azureml.data.file_dataset azureml.data.tabular_dataset azureml.exceptions
azureml.train azureml.widgets
""".split()


@pytest.mark.usefixtures("azureml")
@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_two_names(name: str) -> None:
    """It is one module, so classes and `isinstance` agree."""
    module = importlib.import_module(name)
    own = importlib.import_module(f"mlog.{name}")
    assert module is own
    assert own.__name__ == f"mlog.{name}"
    assert own.__spec__ is not None
    assert own.__spec__.name == f"mlog.{name}"
    assert [public for public in own.__all__ if not hasattr(module, public)] == []


@pytest.mark.usefixtures("azureml")
def test_names_may_be_imported_in_every_way() -> None:
    space: dict[str, object] = {}
    exec(
        "import azureml.core\n"
        "import azureml.core.run as run_module\n"
        "from azureml.core import Run, Workspace\n"
        "from azureml.core.run import Run as SameRun, get_run\n"
        "from azureml.data import OutputFileDatasetConfig\n"
        "from azureml.core import *\n"
        "same = azureml.core.Run is Run is SameRun is run_module.Run\n"
        "version = azureml.core.VERSION\n",
        space,
    )
    assert space["same"] is True
    assert str(space["version"]).count(".") == 2


@pytest.mark.usefixtures("azureml")
def test_what_is_pickled_is_found_again() -> None:
    from mlog.azureml.core.runconfig import MpiConfiguration

    module = importlib.import_module("azureml.core.runconfig")
    found = pickle.loads(pickle.dumps(module.MpiConfiguration(2, 3)))
    assert found == MpiConfiguration(2, 3)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("azureml.pipeline.core", "run.child_run"),
        ("azureml.train.automl", "run.child_run"),
        ("azureml.train.hyperdrive.nothing", "README"),
        ("azureml.train.estimator", "ScriptRunConfig"),
        ("azureml.core.webservice", "Model"),
        ("azureml.core.keyvault", "environment variables"),
        ("azureml.interpret", "interpret or shap"),
        ("azureml.mlflow", "mlflow itself"),
        ("azureml.nothing", "README"),
        ("azureml.core.nothing", "README"),
        ("azureml.alias", "README"),
    ],
)
@pytest.mark.usefixtures("azureml")
def test_what_is_out_of_reach_names_the_local_way(name: str, advice: str) -> None:
    with pytest.raises(ImportError) as caught:
        importlib.import_module(name)
    assert advice in str(caught.value)
    assert isinstance(caught.value, ModuleNotFoundError)


@pytest.mark.parametrize(
    "line",
    [
        "from azureml.telemetry import set_diagnostics_collection as name; name(True)",
        "from azureml.core.resource_configuration import ResourceConfiguration as name;"
        "name(cpu=1, memory_in_gb=0.5)",
        "from azureml.core.container_registry import ContainerRegistry as name;"
        "name().address = 'x'",
        "from azureml.core import ContainerRegistry",
        "from azureml.data import DataType; DataType.to_datetime()",
        "from azureml.core.authentication import AzureMLTokenAuthentication",
    ],
)
@pytest.mark.usefixtures("azureml")
def test_what_scripts_import_by_habit_is_there(line: str) -> None:
    """Nothing comes of it, but the script goes on."""
    exec(line)


@pytest.mark.usefixtures("azureml")
def test_classes_out_of_reach_name_the_local_way() -> None:
    with pytest.raises(ImportError, match="server of your own"):
        exec("from azureml.core import Webservice")
    with pytest.raises(ImportError, match="server of your own"):
        exec("from azureml.core.model import InferenceConfig")
    for module in ("azureml.core", "azureml.core.model", "azureml.data"):
        with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
            exec(f"from {module} import Nothing")


@pytest.mark.usefixtures("azureml")
@pytest.mark.parametrize(
    ("module", "name"),
    [("azureml.core", "Keyvault"), ("azureml.core.model", "InferenceConfig")],
)
def test_classes_out_of_reach_are_not_there(module: str, name: str) -> None:
    """Scripts may ask with `hasattr`; who takes one all the same is told the way."""
    found = importlib.import_module(module)
    assert not hasattr(found, name)
    assert getattr(found, name, None) is None
    with pytest.raises(UserErrorException, match="needs Azure and has no local"):
        getattr(found, name)
    with pytest.raises(ImportError, match="needs Azure and has no local"):
        exec(f"from {module} import {name}")


def test_without_the_alias_there_is_no_azureml() -> None:
    assert importlib.util.find_spec("azureml") is None
    assert activate()
    assert importlib.util.find_spec("azureml") is not None
    deactivate()
    assert importlib.util.find_spec("azureml") is None
    assert not [n for n in sys.modules if n.partition(".")[0] == "azureml"]
    deactivate()


def test_activating_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"/somewhere{os.pathsep}/else")
    before = list(sys.meta_path)
    assert activate()
    assert activate()
    assert len(sys.meta_path) == len(before) + 1
    deactivate()
    assert sys.meta_path == before
    assert os.environ["PYTHONPATH"] == f"/somewhere{os.pathsep}/else"


def make_installed(folder: Path) -> None:
    """Make something that looks like an installed azureml-core."""
    core = folder / "azureml" / "core"
    core.mkdir(parents=True)
    (core / "__init__.py").write_text("VERSION = 'the real one'\n")


def test_what_is_installed_is_left_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unless asked otherwise, and then until it is undone."""
    make_installed(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert not activate()
    assert not is_active()
    assert "azureml-core is installed" in capsys.readouterr().err
    real = importlib.import_module("azureml.core")
    assert real.VERSION == "the real one"
    assert activate(force=True)
    assert importlib.import_module("azureml.core").VERSION != "the real one"
    deactivate()
    assert importlib.import_module("azureml.core") is real
    for name in ("azureml.core", "azureml"):
        monkeypatch.delitem(sys.modules, name)


def test_a_folder_of_that_name_is_no_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "azureml" / "core").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert activate()


@pytest.mark.usefixtures("azureml")
def test_child_processes_find_it_too() -> None:
    """Any child: it need not know of mlog."""
    code = """
from azureml.core.run import Run
import azureml, azureml.core, mlog.azureml
assert azureml is mlog.azureml, azureml
print(azureml.core.Run is Run, azureml.__name__)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["True", "mlog.azureml"]


def test_ipython_extension_is_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    mlog.azureml.load_ipython_extension(None)
    assert is_active()
    mlog.azureml.unload_ipython_extension(None)
    assert not is_active()


def test_importing_mlog_does_not_load_it() -> None:
    code = "import sys, mlog; print([m for m in sys.modules if 'azureml' in m])"
    assert run_python(code).stdout.strip() == "[]"


def test_every_module_can_be_imported_first() -> None:
    """No module needs another one to have been imported before it."""
    files = sorted(PACKAGE.rglob("*.py"))
    names = [
        ".".join(("mlog.azureml", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in files
        if "shim" not in path.parts and path.name != "__main__.py"
    ]
    code = f"""
import importlib, sys
for name in {[name.removesuffix(".__init__") for name in names]!r}:
    for loaded in [m for m in sys.modules if m.startswith("mlog.azureml")]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
