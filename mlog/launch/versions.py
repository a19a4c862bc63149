"""Whether a version is one of those asked for, as far as that can be told simply.

Only releases are compared (1.2.3). Of anything else (1.2rc1, 1.2+cu118, markers,
extras) it is said that it does not fit, which costs a build and never a wrong package.
"""

import re

__all__ = ["fits", "release", "requirement"]

_CLAUSE = re.compile(r"(==|!=|>=|<=|~=|>|<)\s*([0-9]+(?:\.[0-9]+)*)(\.\*)?")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*([^\[\];@#]*)")


def release(version: str) -> tuple[int, ...] | None:
    """Return (1, 2, 3) for "1.2.3"; None for what is no plain release."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
        return None
    return tuple(int(part) for part in version.split("."))


def requirement(line: str) -> tuple[str, str] | None:
    """Return name and versions of a plain requirement; None for any other line."""
    match = _REQUIREMENT.fullmatch(line.strip())
    if match is None:
        return None
    return re.sub(r"[-_.]+", "-", match[1]).lower(), match[2].strip()


def fits(version: str, wanted: str) -> bool:
    """Whether a version is one of those wanted.

    Args:
        version: "3.11.7".
        wanted: As in a requirement: "", "==3.11.*", ">=3.9,<3.12".
    """
    own = release(version)
    if own is None:
        return not wanted.strip()
    return all(_fits(own, part.strip()) for part in wanted.split(",") if part.strip())


def _fits(own: tuple[int, ...], clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return False
    sign, other = match[1], tuple(int(part) for part in match[2].split("."))
    if match[3]:  # == 1.2.*
        is_same = _padded(own, len(other))[: len(other)] == other
        return {"==": is_same, "!=": not is_same}.get(sign, False)
    if sign == "~=":
        same = other[:-1]
        return len(other) > 1 and own[: len(same)] == same and _order(own, other) >= 0
    order = _order(own, other)
    return {
        "==": order == 0,
        "!=": order != 0,
        ">=": order >= 0,
        "<=": order <= 0,
        ">": order > 0,
        "<": order < 0,
    }[sign]


def _order(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    size = max(len(one), len(other))
    first, second = _padded(one, size), _padded(other, size)
    return (first > second) - (first < second)


def _padded(numbers: tuple[int, ...], size: int) -> tuple[int, ...]:
    return numbers + (0,) * (size - len(numbers))
