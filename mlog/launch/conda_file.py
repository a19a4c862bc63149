"""The small part of YAML that conda files are written in.

    name: project
    channels:
      - conda-forge
    dependencies:
      - python=3.11
      - pip:
          - scikit-learn>=1.4

Keys with a text or a list; items of a list are texts or, as `- pip:`, a key with a list
of its own. Anchors, several documents, flow style beyond `[a, b]` are not read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["dump", "parse"]

_KEY = re.compile(r"([\w.-]+):(?:\s+(.*))?")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def parse(text: str) -> dict[str, Any]:
    """Read a conda file.

    Raises:
        ValueError: A line is none of those above; the message names it.
    """
    lines = [
        line for n, raw in enumerate(text.splitlines(), 1) if (line := _line(n, raw))
    ]
    found, rest = _mapping(lines, 0)
    if rest:
        raise _wrong(rest[0])
    return found


def dump(document: Mapping[str, Any]) -> str:
    """Write what `parse` reads."""
    return "\n".join(_dumped(document, "")) + "\n"


def _line(number: int, raw: str) -> _Line | None:
    """Return a line without its comment; None if nothing is left of it."""
    text = re.sub(r"(^|\s)#.*", "", raw.expandtabs()).rstrip()
    if text in ("", "---"):
        return None
    return _Line(number, len(text) - len(text.lstrip()), text.strip())


def _mapping(lines: list[_Line], indent: int) -> tuple[dict[str, Any], list[_Line]]:
    """Read keys from `indent` on; return them and the lines that follow."""
    found: dict[str, Any] = {}
    while lines and lines[0].indent >= indent and not lines[0].text.startswith("- "):
        match = _KEY.fullmatch(lines[0].text)
        if match is None:
            raise _wrong(lines[0])
        found[match[1]], lines = _value(match[2], lines[0], lines[1:])
    return found, lines


def _value(
    inline: str | None, head: _Line, lines: list[_Line]
) -> tuple[Any, list[_Line]]:
    """Read what a key stands for: text in its line, or lines below it."""
    if inline:
        return _scalar(inline), lines
    if lines and lines[0].text.startswith("- ") and lines[0].indent >= head.indent:
        return _sequence(lines, lines[0].indent)
    if lines and lines[0].indent > head.indent:
        return _mapping(lines, lines[0].indent)
    return None, lines


def _sequence(lines: list[_Line], indent: int) -> tuple[list[Any], list[_Line]]:
    found: list[Any] = []
    while lines and lines[0].indent == indent and lines[0].text.startswith("- "):
        head, item = lines[0], lines[0].text[2:].strip()
        match = _KEY.fullmatch(item)
        if match is None:
            found.append(_scalar(item))
            lines = lines[1:]
            continue
        inner = _Line(head.number, indent + 1, item)
        value, lines = _value(match[2], inner, lines[1:])
        found.append({match[1]: value})
    return found, lines


def _scalar(text: str) -> Any:
    if text[0] == "[" and text[-1] == "]":
        return [_scalar(part.strip()) for part in text[1:-1].split(",") if part.strip()]
    if text[0] in "\"'" and text[-1] == text[0] and len(text) > 1:
        return text[1:-1]
    return text


def _dumped(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        lines: list[str] = []
        for key, inner in value.items():
            if isinstance(inner, Mapping | list):
                lines += [f"{indent}{key}:", *_dumped(inner, indent + "  ")]
            elif inner is not None:
                lines.append(f"{indent}{key}: {_quoted(str(inner))}")
        return lines
    return _dumped_items(value, indent)


def _dumped_items(items: Sequence[Any], indent: str) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, Mapping):
            first, *rest = _dumped(item, indent + "  ")
            lines += [f"{indent}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}- {_quoted(str(item))}")
    return lines


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[\w.][^#:'\"\[\]{}]*(:[^\s#'\"]+[^#'\"]*)?", text)
    return text if plain else f"'{text}'"


def _wrong(line: _Line) -> ValueError:
    return ValueError(
        f"line {line.number} of the conda file cannot be read: {line.text!r}; expected "
        "'key: text', 'key:' with a list below it, or '- item'"
    )
