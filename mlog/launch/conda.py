"""Conda packages by pip: what they are called there, and what pip does not have.

A virtual environment is built by pip, also from a conda file. Most packages have one
name in both worlds; the table below has the others that training scripts ask for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CondaPackages", "from_conda"]

# Source: names of conda-forge and defaults beside those of the Python Package Index.
_NAMES = {
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "faiss-cpu": "faiss-cpu",
    "importlib_metadata": "importlib-metadata",
    "jupyter_client": "jupyter-client",
    "libopencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "numpy-base": "numpy",
    "opencv": "opencv-python-headless",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pytables": "tables",
    "python-blosc": "blosc",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-kaleido": "kaleido",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "pytorch-lightning": "pytorch-lightning",
    "ray-core": "ray",
    "ray-tune": "ray[tune]",
    "tensorflow-base": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
}

# Compilers, libraries and programs: pip has none of them, and wheels bring their own.
_NOT_PYTHON = frozenset(
    (
        *("_libgcc_mutex", "_openmp_mutex", "blas", "bzip2", "c-compiler"),
        *("ca-certificates", "cmake", "compilers", "cpuonly", "cuda", "cuda-toolkit"),
        *("cudatoolkit", "cudnn", "curl", "cxx-compiler", "ffmpeg", "fortran-compiler"),
        *("gcc", "gcc_linux-64", "git", "graphviz", "gxx", "gxx_linux-64"),
        *("intel-openmp", "ld_impl_linux-64", "libblas", "libffi", "libgcc"),
        *("libgcc-ng", "libgfortran", "libstdcxx-ng", "llvm-openmp", "make", "mkl"),
        *("mpi", "mpich", "nccl", "ncurses", "nodejs", "openblas", "openjdk"),
        *("openmpi", "openssl", "pip", "pytorch-cuda", "pytorch-mutex", "readline"),
        *("sqlite", "tk", "xz", "zlib"),
    )
)

_QUIET = frozenset(("pip", "ca-certificates", "openssl", "python_abi"))
"""Left out without a word: nobody misses them."""

_SPEC = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<rest>.*)", re.DOTALL)
_BRACKET = re.compile(
    r"\[\s*(?:version\s*=\s*)?['\"]?(?P<version>[^'\"\]]*)['\"]?\s*\]"
)
_VERSION = re.compile(r"[A-Za-z0-9_.*!+-]+")
_CLAUSE = re.compile(r"(?P<sign>===|==|>=|<=|!=|~=|=|>|<)?\s*(?P<version>\S+)")


@dataclass(frozen=True, slots=True)
class CondaPackages:
    """What a list of conda dependencies means for pip.

    Attributes:
        lines: Requirements and options for pip, in order.
        python: Versions of Python asked for, as a requirement has them (`==3.11.*`).
            None: any.
        renamed: Conda names to those that pip uses, where they differ.
        left_out: Names that pip does not have.
        has_conda: Whether any package was meant for conda.
    """

    lines: tuple[str, ...]
    python: str | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    has_conda: bool = False

    @property
    def warning(self) -> str | None:
        """What there is to say about conda packages; None if there were none."""
        if not self.has_conda:
            return None
        text = "conda packages are installed by pip"
        if self.renamed:
            text += ": " + ", ".join(f"{old} as {new}" for old, new in self.renamed)
        if self.left_out:
            text += f"; left out, as pip has none: {', '.join(self.left_out)}"
        return text


def from_conda(dependencies: Iterable[Any]) -> CondaPackages:
    """Return for pip what the `dependencies` of a conda file ask for.

    Args:
        dependencies: Texts for conda, and mappings with a list of lines under `pip`.

    Raises:
        ValueError: A text is no package with a version.
    """
    lines: list[str] = []
    renamed: dict[str, str] = {}
    left_out: list[str] = []
    python = None
    has_conda = False
    for item in dependencies:
        if isinstance(item, Mapping):
            lines += [str(line).strip() for line in item.get("pip") or ()]
            continue
        name, versions = _parsed(str(item))
        if name == "python":
            python = versions or None
        elif name in _NOT_PYTHON or name.startswith(("lib", "cuda-")):
            left_out += [name] if name not in _QUIET else []
        else:
            has_conda = True
            known = _NAMES.get(name, name)
            if known != name:
                renamed[name] = known
            lines.append(known + versions)
    return CondaPackages(
        tuple(lines),
        python,
        tuple(renamed.items()),
        tuple(left_out),
        has_conda or bool(left_out),
    )


def _parsed(text: str) -> tuple[str, str]:
    """Return name and versions, as pip writes them, of a conda package.

    Source: conda, "Package match specification": `name=1.2` is any 1.2.x, `name==1.2`
    and `name 1.2` are that version; a build after it says nothing to pip.
    """
    bare = text.rpartition("::")[2].strip()
    match = _SPEC.fullmatch(bare)
    if match is None:
        raise ValueError(f"{text!r} is no conda package; expected name=version")
    name, rest = match["name"].lower(), match["rest"].strip()
    if bracket := _BRACKET.fullmatch(rest):
        rest = bracket["version"].strip()
    if not rest or rest == "*":
        return name, ""
    if "|" in rest:
        raise ValueError(
            f"{text!r}: pip knows no alternatives of versions; ask for one of them"
        )
    return name, ",".join(_clause(text, part) for part in rest.split(",") if part)


def _clause(text: str, part: str) -> str:
    words = part.split()
    if words and _VERSION.fullmatch(words[0]) and len(words) <= 2:
        return _exactly(words[0])  # "name 1.2", "name 1.2 build"
    match = _CLAUSE.fullmatch(part.strip().replace("= ", "="))
    if match is None:
        raise ValueError(f"{text!r}: {part!r} is no version; expected name=1.2")
    sign = match["sign"]
    version = match["version"]
    if sign in ("=", "==", None):
        version, _, _build = version.partition("=")
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{text!r}: {version!r} is no version; expected name=1.2")
    if sign == "=":
        return f"=={version.removesuffix('.*').removesuffix('*')}.*"
    if sign in ("==", None):
        return _exactly(version)
    return f"{sign}{version.removesuffix('.*')}" if sign != "!=" else f"!={version}"


def _exactly(version: str) -> str:
    """Return `==1.2`; conda also writes 1.2* where pip has 1.2.*."""
    if version.endswith("*") and not version.endswith(".*"):
        version = version[:-1] + ".*"
    return f"=={version}"
