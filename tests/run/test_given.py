"""Params from whatever holds a program's settings."""

import argparse
import optparse
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import click
import pytest

from mlog.plain import to_json
from mlog.run.given import as_mapping
from tests.helpers import run_python

WANTED = {"lr": 0.1, "name": "mlp"}


@dataclass
class Dataclass:
    lr: float = 0.1
    name: str = "mlp"


@dataclass(frozen=True, slots=True)
class Slotted:
    lr: float = 0.1
    name: str = "mlp"


class Named(NamedTuple):
    lr: float = 0.1
    name: str = "mlp"


class Lazy(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __getitem__(self, key: str) -> Any:
        return WANTED[key]

    def __iter__(self) -> Iterator[str]:
        return iter(WANTED)

    def __len__(self) -> int:
        return len(WANTED)


class LikePydantic:
    """As far as settings go, a `pydantic.BaseModel`."""

    model_fields = WANTED

    def model_dump(self) -> dict[str, Any]:
        return dict(WANTED)


class LikePydantic1:
    """The same of its first version."""

    __fields__ = WANTED

    def dict(self) -> dict[str, Any]:
        return dict(WANTED)


class LikeAttrs:
    """As far as settings go, a class made by `attrs.define`."""

    __slots__ = ("lr", "name")
    __attrs_attrs__ = (SimpleNamespace(name="lr"), SimpleNamespace(name="name"))

    def __init__(self, lr: Any = 0.1, name: Any = "mlp") -> None:
        self.lr = lr
        self.name = name


class WithToDict:
    """As the configs of several model libraries."""

    def to_dict(self) -> dict[str, Any]:
        return dict(WANTED)


def click_context() -> click.Context:
    context = click.Context(click.Command("train"))
    context.params.update(WANTED)
    return context


@pytest.mark.parametrize(
    "given",
    [
        dict(WANTED),
        OrderedDict(WANTED),
        MappingProxyType(WANTED),
        Lazy(),
        argparse.Namespace(**WANTED),
        SimpleNamespace(**WANTED),
        optparse.Values(WANTED),
        Dataclass(),
        Slotted(),
        Named(),
        click_context(),
        LikePydantic(),
        LikePydantic1(),
        LikeAttrs(),
        WithToDict(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_settings_are_found_in_their_order(given: Any) -> None:
    assert list(as_mapping(given).items()) == list(WANTED.items())


def test_keywords_are_settings() -> None:
    assert as_mapping(None, {"lr": 1}) == {"lr": 1}
    assert as_mapping({"lr": 1}, {"seed": 2}) == {"lr": 1, "seed": 2}
    assert as_mapping() == as_mapping({}) == {}


def test_names_become_text() -> None:
    assert as_mapping({1: "a", None: "b"}) == {"1": "a", "None": "b"}


@pytest.mark.parametrize(
    ("given", "kwargs"), [({"lr": 1}, {"lr": 1}), ({1: 1, "1": 2}, {})]
)
def test_a_name_given_twice_is_refused(
    given: dict[Any, Any], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="is given twice in params; leave one out"):
        as_mapping(given, kwargs)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([("lr", 1)], "got list;"),
        ("lr=1", "got str;"),
        (3, "got int;"),
        (object(), "got object;"),
        (Dataclass, "got the class Dataclass; an instance of it may do;"),
        (LikePydantic, "got the class LikePydantic"),
        (LikeAttrs, "got the class LikeAttrs"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(given: Any, kind: str) -> None:
    accepted = "params must be a mapping, an argparse.Namespace, a dataclass, .*"
    with pytest.raises(TypeError, match=accepted + kind):
        as_mapping(given)


def test_the_message_says_what_it_is_about() -> None:
    with pytest.raises(TypeError, match="tags must be a mapping"):
        as_mapping(3, what="tags")


def test_a_method_that_tells_no_mapping_is_not_heeded() -> None:
    class Frame:
        def to_dict(self) -> list[int]:
            return [1]

    with pytest.raises(TypeError, match="got Frame"):
        as_mapping(Frame())


# --- within --------------------------------------------------------------------------


def test_nothing_is_flattened() -> None:
    given = {"model": {"layers": [1, 2]}, "optimizer/lr": 1}
    assert as_mapping(given) == given


@pytest.mark.parametrize(
    "inner", [argparse.Namespace(**WANTED), LikePydantic(), LikeAttrs()]
)
def test_configs_within_become_mappings(inner: Any) -> None:
    given = {"a": inner, "b": [inner, {"c": inner}], "d": LikeAttrs(lr=inner)}
    assert as_mapping(given) == {
        "a": WANTED,
        "b": [WANTED, {"c": WANTED}],
        "d": {"lr": WANTED, "name": "mlp"},
    }


def test_other_values_stay_what_they_are() -> None:
    frame, big = WithToDict(), list(range(2_000))
    found = as_mapping({"frame": frame, "big": big, "class": LikeAttrs})
    assert found["frame"] is frame
    assert found["big"] is big
    assert found["class"] is LikeAttrs


def test_what_is_passed_is_not_changed() -> None:
    @dataclass
    class Outer:
        inner: dict[str, Any] = field(default_factory=lambda: {"a": LikeAttrs()})

    outer = Outer()
    as_mapping(outer)["inner"]["a"]["lr"] = 3
    assert isinstance(outer.inner["a"], LikeAttrs)


def test_a_cycle_ends() -> None:
    cycle: dict[str, Any] = {"x": 1}
    cycle["self"] = cycle
    namespace = argparse.Namespace()
    namespace.me = [namespace]
    found = as_mapping({"cycle": cycle, "namespace": namespace})
    assert to_json(found)["cycle"]["x"] == 1


def test_a_config_that_fails_costs_its_own_value() -> None:
    class Broken(LikePydantic):
        def model_dump(self) -> dict[str, Any]:
            raise RuntimeError("broken")

    broken = Broken()
    assert as_mapping({"lr": 1, "inner": broken}) == {"lr": 1, "inner": broken}


# --- OmegaConf -----------------------------------------------------------------------


class DictConfig(dict[str, Any]):
    """As far as settings go, OmegaConf's: a mapping with unresolved texts in it."""


@pytest.fixture
def _like_omegaconf(monkeypatch: pytest.MonkeyPatch) -> None:
    class OmegaConf:
        @staticmethod
        def to_container(config: DictConfig, *, resolve: bool) -> Any:
            if not resolve:
                return dict(config)
            return {k: config[v[2:-1]] if "$" in v else v for k, v in config.items()}

    module = ModuleType("omegaconf")
    vars(module).update(DictConfig=DictConfig, OmegaConf=OmegaConf)
    monkeypatch.setitem(sys.modules, "omegaconf", module)


@pytest.mark.usefixtures("_like_omegaconf")
def test_references_are_resolved() -> None:
    config = DictConfig(data="/data", train="${data}")
    resolved = {"data": "/data", "train": "/data"}
    assert as_mapping(config) == resolved
    assert as_mapping({"config": config}) == {"config": resolved}


@pytest.mark.usefixtures("_like_omegaconf")
def test_references_to_nothing_stay_as_written() -> None:
    config = DictConfig(train="${data}")
    assert as_mapping(config) == {"train": "${data}"}


def test_real_omegaconf() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    text = {"a": {"b": "${c}"}, "c": [1, "???"], "d": "???"}
    config = omegaconf.OmegaConf.create(text)
    found = as_mapping(config)
    assert found == {"a": {"b": [1, "???"]}, "c": [1, "???"], "d": "???"}
    assert as_mapping({"x": config.a}) == {"x": {"b": [1, "???"]}}
    with pytest.raises(TypeError, match="got ListConfig"):
        as_mapping(config.c)


def test_real_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("Inner", lr=(float, 0.1))
    outer = pydantic.create_model("Outer", inner=(inner, inner()), seed=(int, 1))
    assert as_mapping(outer()) == {"inner": {"lr": 0.1}, "seed": 1}


def test_real_attrs() -> None:
    attrs = pytest.importorskip("attrs")
    inner = attrs.make_class("Inner", {"lr": attrs.field(default=0.1)})
    outer = attrs.make_class("Outer", {"layers": attrs.field()})
    assert as_mapping(outer([inner()])) == {"layers": [{"lr": 0.1}]}


def test_nothing_is_imported() -> None:
    code = """
import mlog.run.given, sys
before = set(sys.modules)
mlog.run.given.as_mapping({"a": object()}, {"b": [1]})
assert set(sys.modules) == before
"""
    assert run_python(code).stderr == ""
