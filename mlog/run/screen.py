"""A submitted run on a screen, in v1's frame: head, logs as they come, summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from mlog.layout import SegmentName
from mlog.run.launched import BUILD, BUILD_LOG, NOTES, STD_LOG, launch_of

if TYPE_CHECKING:
    from mlog.reader.state import RunState

__all__ = ["Screen"]

_PRINTED = ("stdout", "stderr")
_GIB = 1 << 30


class Screen:
    """Shows a run: head, output, summary."""

    def __init__(self, run_id: str, path: Path, out: TextIO) -> None:
        """Write the head."""
        self._run_id = run_id
        self._path = path
        self._out = out
        launched = launch_of(path)
        self._definition = {} if "sweep" in launched else launched
        self._section = ""
        lines = [f"RunId: {run_id}", f"Folder: {path}"]
        if self._definition:
            lines.append(f"Target: {_target(self._definition)}")
        self._write("\n".join(lines) + "\n")

    def show(self, entry: Mapping[str, Any]) -> None:
        """Write the entry, where it is one that was printed (or logged)."""
        if "event" in entry or "metric" in entry or "value" in entry:
            return
        logger, text = entry.get("logger"), entry.get("msg", "")
        if logger in _PRINTED:
            goes_on = (entry.get("extra") or {}).get("continues")
            self._print(text if goes_on else f"{text}\n")
        elif logger == BUILD:
            self._begin(BUILD_LOG)
            self._write(f"{text}\n")
        elif logger == NOTES:
            self._print(f"mlog: {text}\n")
        elif not self._definition:
            self._print(f"{entry.get('level', '')} {logger}: {text}\n")

    def sum_up(self, state: "RunState", details: Mapping[str, Any]) -> None:
        """Write the summary."""
        if not self._section:  # v1 shows it also where nothing was printed
            self._print("")
        title = "Execution Summary"
        lines = [title, "=" * len(title), f"RunId: {self._run_id}"]
        lines += [f"Folder: {self._path}", f"Status: {state.status}"]
        if state.duration is not None:
            lines.append(f"Duration: {state.duration:.1f} s")
        if error := details.get("error"):
            lines += ["", "Error:", _shown(error)]
        self._write("\n" + "\n".join(lines) + "\n\n")

    def _print(self, text: str) -> None:
        """Write some of the output."""
        self._begin(STD_LOG if self._definition else SegmentName("logs").filename)
        self._write(text)

    def _begin(self, name: str) -> None:
        """Write the title of a section, if it is another one."""
        if name != self._section:
            title = f"Streaming {name}"
            self._write(f"\n{title}\n{'=' * len(title)}\n\n")
            self._section = name

    def _write(self, text: str) -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))
        self._out.flush()


def _shown(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _target(said: Mapping[str, Any]) -> str:
    """Return `local on HOST: 8 × MODEL, 32 GiB; GPU: MODEL`."""
    machine = said.get("machine") or {}
    cpu = machine.get("cpu") or {}
    parts = [
        " × ".join(str(cpu[key]) for key in ("count", "model") if key in cpu),
        f"{machine['ram_bytes'] / _GIB:.0f} GiB" if "ram_bytes" in machine else "",
    ]
    where = f"{said.get('target')} on {machine.get('host', 'this machine')}"
    hardware = ", ".join(filter(None, parts))
    gpus = ", ".join(machine.get("gpu") or ()) or "none"
    return f"{where}: {hardware}; GPU: {gpus}"
