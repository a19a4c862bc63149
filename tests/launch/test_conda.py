"""What conda packages are called by pip."""

import pytest

from mlog.launch.conda import from_conda


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("numpy", "numpy"),
        ("NumPy", "numpy"),
        ("numpy=1.20", "numpy==1.20.*"),
        ("numpy=1.20.*", "numpy==1.20.*"),
        ("numpy==1.20.1", "numpy==1.20.1"),
        ("numpy=1.20.1=py38_0", "numpy==1.20.1.*"),
        ("numpy 1.20.1 py38_0", "numpy==1.20.1"),
        ("numpy 1.20*", "numpy==1.20.*"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2"),
        ("numpy >= 1.20", "numpy>=1.20"),
        ("numpy!=1.19.*", "numpy!=1.19.*"),
        ("numpy[version='>=1.20']", "numpy>=1.20"),
        ("numpy *", "numpy"),
        ("conda-forge::lightgbm=3", "lightgbm==3.*"),
        ("pytorch::pytorch=2.1", "torch==2.1.*"),
        ("py-xgboost", "xgboost"),
    ],
)
def test_a_package_is_named_as_pip_names_it(conda: str, pip: str) -> None:
    assert from_conda([conda]).lines == (pip,)


def test_python_is_no_package() -> None:
    found = from_conda(["python=3.10", "numpy"])
    assert (found.lines, found.python) == (("numpy",), "==3.10.*")
    assert from_conda(["python"]).python is None
    assert from_conda(["python>=3.9,<3.12"]).python == ">=3.9,<3.12"


def test_lines_for_pip_come_as_they_are() -> None:
    """Options, too; conda's packages stand where they stood."""
    pip = {"pip": ["--no-index", "a>=1", "-f wheels"]}
    found = from_conda(["python=3.11", pip, "b=2"])
    assert found.lines == ("--no-index", "a>=1", "-f wheels", "b==2.*")
    assert from_conda(["numpy", {"pip": None}]).lines == ("numpy",)


def test_what_pip_does_not_do_is_said() -> None:
    found = from_conda(["pip", "openssl", "pytorch", "cudatoolkit=11", "libgcc-ng"])
    assert found.lines == ("torch",)
    assert found.warning == (
        "conda packages are installed by pip: pytorch as torch; left out, as pip has "
        "none: cudatoolkit, libgcc-ng"
    )
    assert from_conda(["python=3.11", "pip=21", {"pip": ["a"]}]).warning is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("=1.2", "is no conda package"),
        ("numpy=1.2|1.3", "alternatives"),
        ("numpy>=1.2 <2; x", "is no version"),
        ("numpy=1.2$(x)", "is no version"),
    ],
)
def test_what_is_no_package_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_conda([text])
