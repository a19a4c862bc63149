"""What is done about an alert: a function, a command, a message to a service.

    ["mail", "-s", "training", "me@host"]   a command: the alert as JSON on its stdin
    desktop                                  a notification on this screen
    https://host/path                        a POST of the alert as JSON
    slack+https://…, discord+https://…, teams+https://…, ntfy+https://host/topic

Messages are sent by a process of its own (`mlog.alerting.post`), so that the program
that trains loads no HTTP client and waits for no network. Addresses of webhooks are
secrets: they are on no command line and in no message of mlog's.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from mlog.errors import MlogError

__all__ = ["Action", "Alert", "action_of", "message_for"]

_PATIENCE = 30.0
"""Seconds that a command or a message may take."""

_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""What was logged must not call a whole channel.

Source: Slack, "Formatting text for app surfaces".
"""

_SERVICES = ("slack", "discord", "teams", "ntfy")


class Alert(NamedTuple):
    """A rule that holds.

    Attributes:
        rule: As it was written.
        text: Why it holds, on one line, without secrets.
        run: Id of the run; "" outside one.
        experiment: Its experiment.
        held: How many more times it has held since it was last told.
    """

    rule: str
    text: str
    run: str = ""
    experiment: str = ""
    held: int = 0

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        return f"mlog: {self.experiment or 'run'} {self.run[-6:]}".strip()

    @property
    def body(self) -> str:
        """All of it, in a line or two."""
        more = f" (and {self.held} more times)" if self.held else ""
        return f"{self.text}{more}\nrule: {self.rule}"


class Action(NamedTuple):
    """Something to be done.

    Attributes:
        kind: `function`, `command`, `desktop`, `webhook` or the name of a service.
        act: Does it, on the thread it is called on; raises where it fails.
    """

    kind: str
    act: Callable[[Alert], object]


def action_of(given: Any) -> Action:
    """Return what an action's description stands for; see the head of this module.

    Raises:
        ValueError: It is a text that is none of these.
        TypeError: It is no text, no list of texts and cannot be called.
    """
    if callable(given):
        return Action("function", given)
    if isinstance(given, str):
        return _named(given)
    if isinstance(given, Sequence) and given and all(isinstance(x, str) for x in given):
        line = list(given)
        return Action("command", lambda alert: _run(line, alert))
    raise TypeError(
        "an action is a function, a command as a list of texts, 'desktop' or a "
        f"webhook's address, got {type(given).__name__}"
    )


def _named(text: str) -> Action:
    if text == "desktop":
        return Action("desktop", _notify)
    scheme, found, rest = text.partition("://")
    service, plus, inner = scheme.rpartition("+")
    kind = service if plus else "webhook"
    if not found or inner not in ("http", "https") or (plus and kind not in _SERVICES):
        raise ValueError(
            "expected 'desktop' or a webhook's address, https://… or one of "
            f"{', '.join(f'{name}+https://…' for name in _SERVICES)}; "
            f"got one that begins with {scheme[:20]!r}"
        )
    if not re.match(r"(?:[^/?#]*@)?[^/?#@:]", rest):
        raise ValueError(f"a webhook's address needs a host: {scheme}://host/path")
    address = f"{inner}://{rest}"
    return Action(kind, lambda alert: _post(kind, address, alert))


def message_for(kind: str, alert: Alert) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and the headers that a service wants.

    Source: Slack, "Sending messages using incoming webhooks"; Discord, "Execute
    Webhook"; Microsoft Teams, "Create incoming webhooks" (Adaptive Cards); ntfy,
    "Publishing".
    """
    if kind == "ntfy":
        title = alert.title.encode("ascii", "replace").decode()
        return alert.body.encode(), {"title": title, "content-type": "text/plain"}
    told: dict[str, Any] = alert._asdict()
    if kind == "slack":
        text = f"*{alert.title}*\n{alert.body}"
        told = {"text": text.translate(_SLACK)}
    elif kind == "discord":
        content = f"**{alert.title}**\n{alert.body}"[:2_000]
        told = {"content": content, "allowed_mentions": {"parse": []}}
    elif kind == "teams":
        told = _card(alert)
    return orjson.dumps(told), {"content-type": "application/json"}


def _card(alert: Alert) -> dict[str, Any]:
    blocks = [
        {"type": "TextBlock", "text": alert.title, "weight": "Bolder"},
        {"type": "TextBlock", "text": alert.body, "wrap": True},
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
    kind = "application/vnd.microsoft.card.adaptive"
    content = [{"contentType": kind, "content": card}]
    return {"type": "message", "attachments": content}


def _run(line: list[str], alert: Alert) -> None:
    _finished(line, orjson.dumps(alert._asdict()))


def _post(kind: str, address: str, alert: Alert) -> None:
    body, headers = message_for(kind, alert)
    order = {"url": address, "headers": dict(headers), "body": body.decode()}
    _finished([sys.executable, "-m", "mlog.alerting.post"], orjson.dumps(order))


def _notify(alert: Alert) -> None:
    """Show a notification, by what the desktop has for it."""
    if shutil.which("notify-send"):
        line = ["notify-send", "--", alert.title, alert.body]
    elif shutil.which("osascript"):
        script = (
            "on run argv\ndisplay notification (item 2 of argv) "
            "with title (item 1 of argv)\nend run"
        )
        line = ["osascript", "-e", script, alert.title, alert.body]
    else:
        raise MlogError("there is neither notify-send nor osascript on this machine")
    _finished(line, b"")


def _finished(line: list[str], given: bytes) -> None:
    """Run a command to its end.

    Raises:
        MlogError: It fails; the message has the last line it printed.
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It takes too long, and was killed.
    """
    env = {**os.environ, "MLOG_MODE": "off"}  # it records nothing itself
    env.pop("MLOG_RUN", None)
    done = subprocess.run(
        line,
        input=given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_PATIENCE,
        env=env,
        check=False,
    )
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MlogError(told[-1][:200] if told else f"exit code {done.returncode}")
