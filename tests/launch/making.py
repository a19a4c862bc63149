"""What the tests of environments make: small wheels, and a fake `docker` on `PATH`."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

FAKE = Path(__file__).with_name("fake_docker.py")
IMAGE = "python:slim"


def make_wheel(folder: Path, name: str, version: str, *, needs: str = "") -> Path:
    """Make a wheel with one module that knows its version.

    Source: packaging.python.org, "Binary distribution format".
    """
    info = f"{name}-{version}.dist-info"
    required = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}"
        ),
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n"
        ),
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel


def has_uv() -> bool:
    uv = shutil.which("uv")
    if uv is None:
        return False
    done = subprocess.run([uv, "--version"], capture_output=True, check=False)
    return done.returncode == 0


class FakeDocker:
    """The fake on `PATH`, and what it was told."""

    def __init__(self, folder: Path, name: str = "docker") -> None:
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.client = folder / "client" / name
        self.client.parent.mkdir()
        self.client.write_text(
            f'#!/bin/sh\nFAKE_DOCKER={self.state} exec {sys.executable} -I -S {FAKE} "$@"\n'
        )
        self.client.chmod(0o755)
        self.inside = folder / "bin"
        self.inside.mkdir()
        base = getattr(sys, "_base_executable", sys.executable)
        (self.inside / "python").symlink_to(base)
        self.has(local={IMAGE: f"{self.inside}:/bin:/usr/bin"})
        self.secure("[name=seccomp,profile=builtin]")
        self.is_called(f"{name} version 1.0")

    def has(
        self, local: dict[str, str], registry: dict[str, str] | None = None
    ) -> None:
        """Say which images there are, with the `PATH` in each."""
        images = {"local": local, "registry": registry or {}}
        (self.state / "images.json").write_text(json.dumps(images))

    def secure(self, text: str) -> None:
        """Say what `info` tells of security."""
        (self.state / "security").write_text(text)

    def is_called(self, text: str) -> None:
        """Say what `--version` tells."""
        (self.state / "version").write_text(text)

    @property
    def calls(self) -> list[list[str]]:
        """The command lines so far."""
        text = (self.state / "calls.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def containers(self) -> list[str]:
        """Names of the containers that are there."""
        folder = self.state / "containers"
        return sorted(path.name for path in folder.glob("*"))
