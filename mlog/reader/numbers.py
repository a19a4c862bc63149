"""Numbers for people: in short, with all digits, and round ones for an axis. Pure."""

import math
from collections.abc import Iterator

__all__ = ["exact", "labelled_ticks", "nice_ticks", "short", "tick_texts"]

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def exact(value: float) -> str:
    """Return all digits of a number, without a `.0`: `0.1`, `5`, `1e+300`, `NaN`."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def short(value: float) -> str:
    """Return a number with about four digits, as in `0.1235`, `41,230` and `1.2e-7`."""
    if not math.isfinite(value) or value == 0:
        return exact(value)
    size = abs(value)
    if 1e-4 <= size < 1:
        return _trimmed(f"{value:.{3 - math.floor(math.log10(size))}f}")
    if 1 <= size < 1e9:
        decimals = max(0, 3 - math.floor(math.log10(size)))
        text = f"{value:,.{decimals}f}"
        return _trimmed(text) if decimals else text
    return _power(f"{value:.3e}")


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high` in equal steps of 1, 2 or 5 times 10ⁿ.

    Args:
        low: Least finite number of an axis.
        high: Greatest; where it is not greater than `low`, the only tick is `low`.
        most: About how many ticks there is room for, at least 1.

    Returns:
        Rising numbers, at least one; two or more wherever floats can tell them apart.
    """
    if not high > low:
        return [low]
    for parts in (most, most * 2, most * 4):
        # A difference of the ends themselves could be too large for a float.
        step = _nice_step(high / parts - low / parts)
        ticks = [*_multiples(low, high, step)] if step > 0 else []
        if len(ticks) > 1:
            return ticks
    return [low]


def labelled_ticks(
    low: float, high: float, most: int, *, log: bool = False
) -> tuple[list[float], list[str]]:
    """Return round numbers for an axis, and the texts that stand beside them.

    Args:
        low: Least finite number of the axis; above zero, if `log`.
        high: Greatest.
        most: About how many there is room for.
        log: Whether the axis is logarithmic.
    """
    if log:
        ticks = _log_ticks(low, high, most)
        return ticks, [_log_text(tick) for tick in ticks]
    ticks = nice_ticks(low, high, most)
    return ticks, tick_texts(ticks)


def _multiples(low: float, high: float, step: float) -> Iterator[float]:
    """Yield the multiples of a step from `low` to `high`, some ten at most."""
    first, last = math.ceil(low / step), math.floor(high / step)
    if last - first > 100 or step < math.ulp(max(abs(low), abs(high))):
        return  # so near to each other that the numbers are no longer round
    digits = 15 - math.floor(math.log10(step)) if step < 1 else 0
    for count in range(first, last + 1):
        yield round(count * step, digits) if 0 < digits < 300 else count * step


def _nice_step(raw: float) -> float:
    """Return the least step of 1, 2 or 5 times a power of ten that is not below."""
    if not raw > 0:
        return 0.0
    exponent = math.floor(math.log10(raw))
    steps = (float(f"{factor}e{exponent}") for factor in (1, 2, 5))
    return next((step for step in steps if step >= raw), float(f"1e{exponent + 1}"))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten; where no two are in the range, other round numbers."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    powers = [float(f"1e{n}") for n in range(first, last + 1)]
    powers = [tick for tick in powers if low <= tick <= high]
    if len(powers) > 1:
        return powers[:: math.ceil(len(powers) / (most + 1))]
    between = [float(f"{n}e{first + k}") for k in (0, 1) for n in (1, 2, 5)]
    between = [tick for tick in between if low <= tick <= high]
    return between if len(between) > 1 else nice_ticks(low, high, most)


def _log_text(value: float) -> str:
    return short(value) if 1e-4 <= value < 1e5 else _power(f"{value:.3e}")


def tick_texts(ticks: list[float]) -> list[str]:
    """Return labels of an axis, all with the digits that tell them apart."""
    if len(ticks) < 2:
        return [short(tick) for tick in ticks]
    step = ticks[1] - ticks[0]
    largest = max(map(abs, ticks))
    for size, prefix in _PREFIXES if 1e4 <= largest < 1e15 else ():
        if largest >= size and step >= size / 100:
            return [_scaled(tick / size, step / size, prefix) for tick in ticks]
    if 1e-4 <= largest < 1e15:
        return [_scaled(tick, step, "") for tick in ticks]
    digits = min(15, max(0, math.ceil(math.log10(largest / step) - 1e-9)))
    return [_power(f"{tick:.{digits}e}") if tick else "0" for tick in ticks]


def _scaled(value: float, step: float, prefix: str) -> str:
    decimals = min(15, max(0, -math.floor(math.log10(step) + 1e-9)))
    text = _trimmed(f"{value:.{decimals}f}")
    return "0" if text in ("0", "-0") else text + prefix


def _power(text: str) -> str:
    """Shorten `1.200e-07` to `1.2e-7`."""
    number, _, exponent = text.partition("e")
    return f"{_trimmed(number)}e{int(exponent)}"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
