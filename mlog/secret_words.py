"""What secrets look like: shapes of well-known tokens, and names that tell of a secret.

Tables only, with a word on each row. A name is matched as a whole in its normal form.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "FILE",
    "ORDINARY",
    "STRONG",
    "TOKENS",
    "WEAK",
    "Kind",
    "Shape",
    "kind_of",
    "normal_name",
]


class Kind(Enum):
    """What a name says about its value."""

    STRONG = "a secret"
    FILE = "a secret, or the path of one"
    WEAK = "a secret if the value looks like one"
    OTHER = "nothing"
    ORDINARY = "not a secret, whatever word stands before the name"


class Shape(NamedTuple):
    """A token that is known by its looks."""

    what: str
    literal: str  # in every such token; `_may_hold_token` looks for it
    pattern: str  # compiled, and kept by `re`, when a text first needs it


# A token starts where no other word is going on; `\n` written out is no word.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
# The same for tokens that may contain - and _ and must pass a further test: one try
# per run of such characters, or a long run would be tried from each of them.
_ALONE = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"

TOKENS = (
    Shape("AWS key id", "AKIA", _START + r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    Shape("AWS temporary id", "ASIA", _START + r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    Shape("GitHub", "gh", _START + r"gh[opsur]_[A-Za-z0-9]{30,}+"),
    Shape("GitHub, fine-grained", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}+"),
    Shape("GitLab", "glpat-", r"glpat-[A-Za-z0-9_-]{20,}+"),
    Shape("Hugging Face", "hf_", _START + r"hf_[A-Za-z0-9]{30,}+"),
    Shape("Slack", "xox", _START + r"xox[abeoprs]-[A-Za-z0-9-]{10,}+"),
    Shape("npm", "npm_", _START + r"npm_[A-Za-z0-9]{30,}+"),
    Shape("PyPI", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{20,}+"),
    Shape("Stripe", "k_live_", _START + r"[rs]k_live_[A-Za-z0-9]{10,}+"),
    Shape("Google API key", "AIza", _START + r"AIza[A-Za-z0-9_-]{30,}+"),
    Shape("Databricks", "dapi", _START + r"dapi[0-9a-f]{32}(?![A-Za-z0-9])(-\d)?"),
    Shape(
        "SendGrid",
        "SG.",
        _ALONE + r"SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+",
    ),
    Shape(  # a digit is asked for: `sk-learn…` and other words have none
        "OpenAI",
        "sk-",
        _ALONE + r"sk-(?=[A-Za-z]*+\d)[A-Za-z0-9]{20,}+",
    ),
    Shape(
        "OpenAI by project, Anthropic, OpenRouter",
        "sk-",
        _ALONE
        + r"sk-(?:proj|svcacct|admin|ant|or)-(?=[A-Za-z_-]*+\d)[A-Za-z0-9_-]{20,}+",
    ),
    Shape(  # three parts when signed, five when encrypted
        "JSON web token",
        "eyJ",
        _ALONE + r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){2,4}",
    ),
    Shape(
        "private key",
        "-----BEGIN ",
        r"-----BEGIN (?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"[^-]*+(?:-(?!----)[^-]*+)*+-----END [A-Z0-9 ]{0,40}-----",
    ),
    Shape(  # the end was cut off: what still looks like a key
        "private key without end",
        "-----BEGIN ",
        r"-----BEGIN (?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\s|\\{1,8}[nr])*+[A-Za-z0-9+/=]{16,}+)++",
    ),
    Shape(
        "Slack webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/[a-z]{1,20}/(?P<secret>[A-Za-z0-9_/-]++)",
    ),
    Shape(
        "Discord webhook",
        "/webhooks/",
        r"/api/(?:v\d{1,3}/)?webhooks/\d{1,30}/(?P<secret>[A-Za-z0-9_-]++)",
    ),
    Shape(
        "Teams webhook",
        "webhook.office.com/",
        r"webhook\.office\.com/webhookb2/(?P<secret>[A-Za-z0-9_@/-]++)",
    ),
    Shape(
        "Bearer",
        "earer ",
        r"(?<![A-Za-z])[Bb]earer +"
        r"(?P<secret>(?=[A-Za-z._~+/=-]*+\d)[A-Za-z0-9._~+/=-]{16,}+)",
    ),
    Shape(  # not a port; the password may hold / and @, the user stays
        "password in a URL",
        "://",
        r"://[^\s/:@\"'?#]*+:(?!\d{1,5}(?:[/?#\s]|$))"
        r"(?P<secret>[^\s\"'@]{1,256}+(?:@[^\s\"'/@,;?#]{0,64}+(?=@))*+)@",
    ),
)
"""What is hidden wherever it stands: all of it, or the group `secret`."""


def _any_of(*rows: tuple[str, str]) -> str:
    return "|".join(f"(?:{pattern})" for _, pattern in rows)


# Rows of (what, pattern) for a whole name in the form of `normal_name`.
STRONG = _any_of(
    ("passwords", r"[a-z0-9_]*(?:password|passwd|passphrase|passcode)s?(?:_hash)?"),
    ("passwords in two words", r"(?:.*_)?pass_(?:word|phrase|code)"),
    ("passwords, short", r"(?:.*_)?(?:db|user|admin|root|smtp|mysql|pg|redis)_?pass"),
    ("secrets", r"(?:.*_)?secrets?(?:_(?:value|string|text))?"),
    ("keys by use", r"(?:.*_)?(?:api|access|secret|account|storage|shared)_?keys?"),
    ("keys by use", r"(?:.*_)?(?:subscription|master|encryption|decryption)_?keys?"),
    ("keys by use", r"(?:.*_)?(?:auth|consumer|instrumentation|functions?)_?keys?"),
    ("key ids", r"(?:.*_)?access_?key_?id"),
    ("keys by service", r"(?:.*_)?(?:openai|anthropic|azure|aws|wandb|hf)_?key"),
    ("tokens by use", r"(?:.*_)?(?:access|auth|api|refresh|bearer|session)_?token"),
    ("tokens by use", r"(?:.*_)?(?:security|csrf|xsrf|oauth2?|sas|jwt|login)_?token"),
    ("tokens by use", r"(?:.*_)?(?:personal_access|deploy|registry|bot)_?token"),
    ("tokens by service", r"(?:.*_)?(?:hf|hub|huggingface|hugging_face)_?token"),
    ("tokens by service", r"(?:.*_)?(?:gh|github|git|gitlab|git_lab|slack)_?token"),
    ("tokens by service", r"(?:.*_)?(?:discord|telegram|wandb|neptune|comet)_?token"),
    ("tokens by service", r"(?:.*_)?(?:mlflow|mlflow_tracking|databricks)_?token"),
    ("tokens by service", r"(?:.*_)?(?:azure|aws|gcp|google|vault|npm|pypi)_?token"),
    ("tokens by service", r"(?:.*_)?(?:openai|anthropic|replicate|kaggle)_?token"),
    ("headers", r"(?:.*_)?(?:authorization|(?:basic|http)_auth|cookies?)"),
    ("connections", r"(?:.*_)?conn(?:ection)?_?str(?:ing)?"),
    ("webhooks", r"(?:.*_)?webhook(?:_ur[il])?"),
    ("signed URLs", r"x_(?:amz|goog)_signature|shared_access_signature"),
)

FILE = _any_of(
    ("a password, or the working directory", r"(?:.*_)?pwd"),
    (
        "keys kept in files",
        r"(?:.*_)?(?:private|ssh|gpg|signing|deploy|license)_?keys?",
    ),
    ("credentials", r"(?:.*_)?(?:credentials?|creds?)"),
)

WEAK = _any_of(
    ("tokens, of text or of access", r"(?:.*_)?token"),
    ("credentials or methods", r"(?:.*_)?(?:auth|bearer|jwt|sas|pat|sig)"),
    ("passwords or passes over data", r"(?:.*_)?pass"),
)

ORDINARY = _any_of(
    ("tokens of text", r"(?:.*_)?(?:pad|bos|eos|unk|cls|mask|sep|bod|eod|eot)_token"),
    ("tokens of text", r"(?:.*_)?(?:boi|eoi|image|audio|video|blank|word|sub)_token"),
    ("tokens of text", r"(?:.*_)?(?:start|end|stop|special|prefix|suffix)_token"),
    ("tokens of text", r"(?:.*_)?(?:middle|first|last|next|prev|previous)_token"),
    ("tokens of text", r"(?:.*_)?(?:target|source|current|new|per|init)_token"),
    ("tokens of text", r"(?:.*_)?(?:initializer|placeholder|trigger|concept)_token"),
    ("tokens of text", r"(?:.*_)?(?:instance|prompt|query|response|separator)_token"),
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_JOINTS = re.compile(r"[-. :/]+")


def normal_name(name: str) -> str:
    """Return a name in small letters, its words joined by `_`."""
    return _JOINTS.sub("_", _CAMEL.sub("_", name)).lower().strip("_+~")


_TELLING = (
    *("pass", "secret", "key", "token", "auth", "cookie", "conn", "hook", "signature"),
    *("pwd", "cred", "bearer", "jwt", "sas", "pat", "sig"),
)
"""Each name of the tables has one of them. Compiling the tables takes milliseconds,
which the start of a run, with its few and harmless names, need not wait for."""


@lru_cache(maxsize=1024)
def kind_of(name: str) -> Kind:
    """Return what the built-in tables say of a name, be it counted or not."""
    normal = normal_name(name).rstrip("0123456789").rstrip("_")
    if not any(map(normal.__contains__, _TELLING)):
        return Kind.OTHER
    if re.fullmatch(ORDINARY, normal):
        return Kind.ORDINARY
    if re.fullmatch(STRONG, normal):
        return Kind.STRONG
    if re.fullmatch(FILE, normal):
        return Kind.FILE
    return Kind.WEAK if re.fullmatch(WEAK, normal) else Kind.OTHER
