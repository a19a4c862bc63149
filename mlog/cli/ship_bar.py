"""The progress of `mlog ship` on a terminal, and word of sinks that fail."""

import math
import os
import sys
import time
from collections.abc import Sequence

import click

from mlog.cli.table import width_of
from mlog.escaping import inline
from mlog.reader.page_words import size_text, span
from mlog.shipping.shipper import Shipper

__all__ = ["Bar"]

_HICCUP = 1.0
"""Seconds for which a sink may fail before that is told."""

_BAR = 24


class Bar:
    """One line on a terminal for work that takes a while; and what does not go well."""

    def __init__(self, shippers: Sequence[Shipper]) -> None:
        """Watch some shippers, from now on; nothing is drawn yet."""
        self._shippers = shippers
        self._is_on = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = False
        self._total = 0
        self._told: set[str] = set()

    def draw(self) -> None:
        """Draw it as things are now; for a terminal only, and not in the first second."""
        self._tell_trouble()
        if not self._is_on or time.monotonic() - self._began < 1.0:
            return
        sent = sum(s.sent for s in self._shippers)
        left = sum(s.left for s in self._shippers)
        # What is on its way is in neither: it is still to be waited for.
        self._total = total = max(self._total, sent + left)
        left = total - sent
        share = sent / total if total else 1.0
        filled = int(share * _BAR)
        entries = sum(s.entries for s in self._shippers)
        seconds = time.monotonic() - self._began
        rate = entries / seconds
        eta = f", {span(left / (sent / seconds))} left" if sent and left else ""
        bar = "█" * filled + "░" * (_BAR - filled)
        text = (
            f"{bar} {100 * share:3.0f} %  {size_text(sent)} of {size_text(total)}  "
            f"{entries:,} entries, {rate:,.0f}/s{eta}"
        )
        width = width_of(sys.stderr, os.environ) - 1
        sys.stderr.write("\r\x1b[2K" + text[:width])
        sys.stderr.flush()
        self._shown = True

    def _tell_trouble(self) -> None:
        """Say in a line of its own that a sink fails: once, until it goes well again."""
        for shipper in self._shippers:
            name = shipper.route.target.name
            active = list(shipper.active.values())
            since = min((d.failing_since for d in active), default=math.inf)
            if since == math.inf:
                self._told.discard(name)
            elif name not in self._told and time.monotonic() - since > _HICCUP:
                self._told.add(name)
                self.clear()
                error = next((d.cursor.error for d in active if d.cursor.error), "")
                text = (
                    f"mlog: {name}: {inline(error)}; it is tried until that is mended"
                )
                click.echo(text, err=True)

    def clear(self) -> None:
        """Take it off the terminal, so that something else can be written there."""
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._shown = False
