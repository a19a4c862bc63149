"""The tap: how metrics are logged, what is always recorded, and what installing changes."""

import inspect
import io
import itertools
import logging
import logging.config
import logging.handlers
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import mlog
from mlog.tap import is_installed
from tests.helpers import REPO, Entry, entries, run_python

ENV = {"PYTHONPATH": str(REPO), "MLOG_QUIET": "1"}


@pytest.fixture
def run() -> Iterator[mlog.Run]:
    with mlog.start_run("tap") as run:
        yield run


@pytest.fixture
def shown() -> io.StringIO:
    """Return what a handler on root shows, of any level."""
    stream = io.StringIO()
    logging.root.addHandler(logging.StreamHandler(stream))
    return stream


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test that warned: under `-W error` mlog's warnings go to stderr."""
    yield
    assert "mlog: warning" not in capsys.readouterr().err


def metrics(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "metrics")


def logs(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "logs")


def here(up: int = 1) -> tuple[str, int, str]:
    """Return file, line and function of the caller, as entries name them."""
    frame = sys._getframe(up)
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def call(*calls: Callable[[], object]) -> None:
    for each in calls:
        each()


def place(entry: Entry) -> tuple[str, int, str]:
    return entry["file"], entry["line"], entry["func"]


# --- calling ---------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_a_metric_needs_no_message(run: mlog.Run) -> None:
    mlog.getLogger("train").info(metric={"loss": 0.3}, step=3)
    (entry,) = metrics(run)
    assert (entry["logger"], entry["level"]) == ("train", "INFO")
    assert (entry["metric"], entry["step"]) == ({"loss": 0.3}, 3)
    assert "msg" not in entry
    assert logs(run) == []


@pytest.mark.usefixtures("quiet")
def test_a_metric_may_have_a_message(run: mlog.Run) -> None:
    mlog.getLogger("train").info("epoch %d of %s", 3, "ten", metric={"loss": 0.3})
    called = here()
    (entry,) = metrics(run)
    assert (entry["msg"], entry["metric"]) == ("epoch 3 of ten", {"loss": 0.3})
    assert place(entry) == (called[0], called[1] - 1, called[2])


@pytest.mark.usefixtures("quiet")
def test_extra_is_the_form_for_libraries(run: mlog.Run) -> None:
    """It is inert without mlog, and recorded with it."""
    logger = logging.getLogger("library")
    logger.info("step", extra={"metric": {"loss": 0.3}, "step": 3, "fold": 1})
    logger.info("", extra={"metric": {"loss": 0.2}, "step": 4})
    first, second = metrics(run)
    assert (first["msg"], first["metric"], first["step"]) == ("step", {"loss": 0.3}, 3)
    assert first["extra"] == {"fold": 1}
    assert (second["metric"], second["step"]) == ({"loss": 0.2}, 4)
    assert "msg" not in second


LEVELS = ("info", "warning", "error", "critical", "fatal", "exception")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", LEVELS)
def test_every_level_method_takes_metrics(name: str, run: mlog.Run) -> None:
    method = getattr(logging.getLogger("levels"), name)
    method(metric={"a": 1})
    method("text", metric={"a": 2}, step=2)
    method(metric={"a": 3}, step=3, extra={"fold": 1})
    method("text %d", 4, metric={"a": 4}, step=4, stacklevel=1)
    found = metrics(run)
    assert [entry["metric"]["a"] for entry in found] == [1, 2, 3, 4]
    assert [entry.get("step") for entry in found] == [None, 2, 3, 4]
    level = {"fatal": "CRITICAL", "exception": "ERROR"}.get(name, name.upper())
    assert {entry["level"] for entry in found} == {level}


def test_warn_takes_metrics_and_is_still_deprecated(run: mlog.Run) -> None:
    logger: Any = mlog.getLogger("levels")
    with pytest.warns(DeprecationWarning, match="warn"):
        logger.warn("text", metric={"a": 1})
    assert [entry["level"] for entry in metrics(run)] == ["WARNING"]


@pytest.mark.usefixtures("quiet")
def test_log_takes_any_level(run: mlog.Run) -> None:
    logger = mlog.getLogger("levels")
    logger.log(logging.INFO, metric={"a": 1})
    logger.log(35, "text", metric={"a": 2})
    logger.log(25, metric={"a": 3}, extra={"fold": 1})
    assert [e["level"] for e in metrics(run)] == ["INFO", "Level 35", "Level 25"]


def test_log_refuses_a_level_that_is_no_number_as_stock_does() -> None:
    level: Any = "INFO"
    with pytest.raises(TypeError, match="level must be an integer"):
        mlog.getLogger("levels").log(level, "text")


@pytest.mark.usefixtures("quiet")
def test_module_functions_take_metrics(run: mlog.Run) -> None:
    """`logging.info` calls the root logger, which is upgraded like the others."""
    speak: Callable[..., None] = logging.info
    logging.root.addHandler(logging.NullHandler())
    speak("text", metric={"a": 1}, step=1)
    called = here()
    logging.log(logging.WARNING, "text", extra={"metric": {"a": 2}})
    root = mlog.getLogger()
    assert id(root) == id(logging.root)
    root.info(metric={"a": 3})
    first, second, third = metrics(run)
    assert {entry["logger"] for entry in (first, second, third)} == {"root"}
    assert place(first) == (called[0], called[1] - 1, called[2])


@pytest.mark.usefixtures("quiet")
def test_adapters_take_metrics(run: mlog.Run) -> None:
    """Their own fields come along where they do without mlog."""
    adapter = logging.LoggerAdapter(mlog.getLogger("adapted"), {"who": "me"})
    nested: Any = logging.LoggerAdapter(adapter, {"inner": 1})
    adapter.info("text", metric={"a": 1}, step=1)  # type: ignore[call-arg, unused-ignore]
    called = here()
    adapter.info("", metric={"a": 2})  # type: ignore[call-arg, unused-ignore]
    nested.info("text", metric={"a": 3})
    adapter.debug("plain")
    first, second, third = metrics(run)
    assert (first["msg"], first["step"], first["extra"]) == ("text", 1, {"who": "me"})
    assert place(first) == (called[0], called[1] - 1, called[2])
    assert "msg" not in second
    assert third["metric"] == {"a": 3}
    assert [entry["extra"] for entry in logs(run)] == [{"who": "me"}]


@pytest.mark.usefixtures("quiet")
def test_loggers_made_before_and_after_take_part() -> None:
    before = logging.getLogger("made.before")
    apart = logging.getLogger("made.apart")
    apart.propagate = False
    with mlog.start_run("tap") as run:
        after = logging.getLogger("made.after")
        child = apart.getChild("child")
        for logger in (before, apart, after, child):
            logger.info("text")
            logger.info("", extra={"metric": {"a": 1}})
    names = ["made.before", "made.apart", "made.after", "made.apart.child"]
    assert [entry["logger"] for entry in logs(run)] == names
    assert [entry["logger"] for entry in metrics(run)] == names


@pytest.mark.usefixtures("quiet")
def test_the_place_of_a_call_is_the_caller_s(run: mlog.Run) -> None:
    logger = mlog.getLogger("place")

    def helper(**given: Any) -> None:
        logger.info("text", **given)

    path, above, function = here()
    logger.info("text")
    logger.info("text", extra={"a": 1})
    logger.info("text", exc_info=True)
    logger.log(20, "text")
    logger.exception("text")
    logger.warning("text", metric={"a": 1})
    helper(stacklevel=2)
    helper(stacklevel=2, metric={"a": 1})
    helper(stacklevel=2, extra={"a": 1}, step=2)
    logging.getLogger("place.other").info("text")
    logging.warning("text")
    calls = [(path, above + n, function) for n in range(1, 12)]
    logger.handle(logger.makeRecord("place", 20, *calls[0][:2], "text", (), None, "f"))
    found = sorted(metrics(run) + logs(run), key=lambda entry: int(entry["seq"]))
    assert [place(entry) for entry in found[:-1]] == calls
    assert place(found[-1]) == (*calls[0][:2], "f")


@pytest.mark.usefixtures("quiet")
def test_positional_arguments_may_be_anything(run: mlog.Run) -> None:
    logger = mlog.getLogger("args")
    logger.info("%(a)s", {"a": 1})
    logger.info("%s %s", {"a": 1}, {})
    logger.info({"a": 1})
    logger.info(None)
    logger.info("100%")
    logger.info(msg="by keyword")
    said = [entry["msg"] for entry in logs(run)]
    assert said == ["1", "{'a': 1} {}", "{'a': 1}", "None", "100%", "by keyword"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "kind", [dict, OrderedDict, MappingProxyType, lambda given: _Frozen(given)]
)
def test_any_mapping_is_a_metric(
    kind: Callable[[dict[str, float]], Any], run: mlog.Run
) -> None:
    mlog.getLogger("kinds").info(metric=kind({"a": 1.5}))
    mlog.getLogger("kinds").info("text", extra={"metric": kind({"a": 2.5})})
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1.5}, {"a": 2.5}]


class _Frozen(Mapping[str, float]):
    """A mapping that is no dict."""

    def __init__(self, given: dict[str, float]) -> None:
        self._given = given

    def __getitem__(self, name: str) -> float:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


@pytest.mark.usefixtures("quiet")
def test_keywords_win_over_extra(run: mlog.Run) -> None:
    extra = {"metric": {"a": 1}, "step": 1, "fold": 1}
    mlog.getLogger("both").info(metric={"a": 2}, step=2, extra=extra)
    (entry,) = metrics(run)
    assert (entry["metric"], entry["step"]) == ({"a": 2}, 2)
    assert entry["extra"]["fold"] == 1


@pytest.mark.usefixtures("quiet")
def test_what_is_given_is_not_changed(run: mlog.Run) -> None:
    extra, metric = {"step": 1, "metric": {"a": 1}, "fold": 1}, {"a": 2}
    mlog.getLogger("kept").info("text", extra=extra)
    mlog.getLogger("kept").info(metric=metric, extra={"fold": 1})
    assert extra == {"step": 1, "metric": {"a": 1}, "fold": 1}
    assert metric == {"a": 2}


# --- what is always recorded -----------------------------------------------------------


def _by_level(logger: logging.Logger) -> None:
    logger.setLevel(logging.CRITICAL)


def _by_disabled(logger: logging.Logger) -> None:
    logger.disabled = True


def _by_disable(logger: logging.Logger) -> None:
    logging.disable(logging.CRITICAL)


def _by_dict_config(logger: logging.Logger) -> None:
    logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}})
    assert logger.disabled


def _by_root(logger: logging.Logger) -> None:
    logging.root.setLevel(100)


WAYS = [_by_level, _by_disabled, _by_disable, _by_dict_config, _by_root]
FORMS: list[Callable[..., None]] = [
    lambda logger: logger.info(metric={"a": 1}),
    lambda logger: logger.info("text", metric={"a": 1}, step=1),
    lambda logger: logger.info("text", extra={"metric": {"a": 1}}),
    lambda logger: logger.log(20, metric={"a": 1}),
    lambda logger: logger.warning(metric=OrderedDict(a=1), extra={"b": 1}),
    lambda logger: logger.exception(metric={"a": 1}, stacklevel=2),
]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("hide", WAYS)
def test_a_metric_at_info_is_always_recorded(
    hide: Callable[[logging.Logger], None], shown: io.StringIO
) -> None:
    """Whatever the levels say; other handlers see it only if they let it pass."""
    logger = logging.getLogger("hidden")
    with mlog.start_run("tap", level="CRITICAL") as run:
        hide(logger)
        for form in FORMS:
            form(logger)
        logger.debug("", extra={"metric": {"a": 2}})
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1}] * len(FORMS)
    assert shown.getvalue() == ""


@pytest.mark.usefixtures("quiet")
def test_a_debug_metric_obeys_the_levels() -> None:
    logger = mlog.getLogger("obeys")
    with mlog.start_run("tap", level="INFO") as run:
        logger.debug(metric={"hidden": 1})
        logger.debug("text", extra={"metric": {"hidden": 1}})
        logger.log(19, metric={"hidden": 1})
    assert metrics(run) == []
    with mlog.start_run("tap", level="DEBUG") as run:
        logger.debug(metric={"a": 1})
        logger.debug("text", extra={"metric": {"a": 2}})
        logger.disabled = True
        logger.debug(metric={"hidden": 1})
        logger.disabled = False
        logging.disable(logging.DEBUG)
        logger.debug(metric={"hidden": 1})
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1}, {"a": 2}]


@pytest.mark.usefixtures("quiet")
def test_levels_set_while_a_run_is_open_hold(shown: io.StringIO) -> None:
    """What `logging` remembers of levels is forgotten when a run opens or ends."""
    logger = logging.getLogger("levels.change")
    assert not logger.isEnabledFor(logging.DEBUG)
    with mlog.start_run("tap") as run:
        assert logger.isEnabledFor(logging.DEBUG)
        logger.debug("for the run")
        logger.setLevel(logging.ERROR)
        logger.debug("still for the run")
        logging.getLogger("levels").setLevel(logging.DEBUG)
        logger.setLevel(logging.NOTSET)
        logger.debug("for all")
    assert logger.isEnabledFor(logging.DEBUG)
    logging.getLogger("levels").setLevel(logging.NOTSET)
    assert not logger.isEnabledFor(logging.DEBUG)
    assert len(logs(run)) == 3
    assert shown.getvalue() == "for all\n"


@pytest.mark.usefixtures("quiet")
def test_a_metric_of_another_kind_is_an_ordinary_field(run: mlog.Run) -> None:
    """Libraries have used these words for their own ends before."""
    logger = logging.getLogger("library")
    logger.info("best by", extra={"metric": "accuracy"})
    logger.info("pipeline", extra={"step": "preprocess"})
    logger.info("both", extra={"metric": None, "step": "fit"})
    assert metrics(run) == []
    first, second, third = logs(run)
    assert first["extra"] == {"metric": "accuracy"}
    assert second["extra"] == {"step": "preprocess"}
    assert third["extra"]["step"] == "fit"


# --- mistakes --------------------------------------------------------------------------


def told(caught: pytest.WarningsRecorder) -> list[str]:
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("name", ["metrics", "loss", "steps"])
def test_an_unknown_keyword_is_warned_about_once_and_kept(
    name: str, run: mlog.Run
) -> None:
    logger = mlog.getLogger("mistakes")
    given: dict[str, Any] = {name: {"a": 1}}
    with pytest.warns(mlog.MlogWarning) as caught:
        call(*[lambda: logger.info("text", **given)] * 3)
    (text,) = told(caught)
    assert f"{name}=" in text
    assert "metric={'name': number}" in text
    assert caught[0].filename == __file__
    assert [entry["extra"] for entry in logs(run)] == [{name: {"a": 1}}] * 3


def test_an_unknown_keyword_beside_a_metric_is_kept_with_it(run: mlog.Run) -> None:
    with pytest.warns(mlog.MlogWarning):
        mlog.getLogger("mistakes").info(metric={"a": 1}, epoch=2, extra={"fold": 1})
    (entry,) = metrics(run)
    assert entry["metric"] == {"a": 1}
    assert entry["extra"] == {"epoch": 2, "fold": 1}


@pytest.mark.parametrize("value", [0.3, "loss", ["loss", 0.3], object(), True])
def test_a_metric_that_is_no_mapping_is_warned_about_and_kept(
    value: object, run: mlog.Run
) -> None:
    given: Any = value
    logger = mlog.getLogger("mistakes")
    with pytest.warns(mlog.MlogWarning, match="metric must be a mapping") as caught:
        call(
            lambda: logger.info("text", metric=given),
            lambda: logger.info(metric=given, step=3),
            lambda: logger.info(metric=given, extra={"fold": 1}),
        )
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert metrics(run) == []
    found = logs(run)
    assert len(found) == 3
    assert all("metric" in entry["extra"] for entry in found)


RESERVED = sorted({*vars(logging.makeLogRecord({})), "message", "asctime"})


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_in_extra_never_raise(
    name: str, run: mlog.Run, shown: io.StringIO
) -> None:
    """Stock raises a KeyError; here the field gets another name, and one warning."""
    logger = mlog.getLogger("reserved")
    calls = [
        lambda: logger.warning("text", extra={name: 7, "ok": 1}),
        lambda: logger.info(metric={"a": 1}, extra={name: 7}),
    ]
    with pytest.warns(mlog.MlogWarning, match=name) as caught:
        call(*calls * 2)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [entry["extra"] for entry in logs(run)] == [{f"{name}_": 7, "ok": 1}] * 2
    assert [entry["extra"] for entry in metrics(run)] == [{f"{name}_": 7}] * 2
    assert shown.getvalue() == "text\n" * 2


def test_fields_that_a_record_factory_sets_never_raise(run: mlog.Run) -> None:
    """Stock raises a KeyError where `extra` has them as well."""

    class Record(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.step, self.fold = 0, 0

    logging.setLogRecordFactory(Record)
    logger = mlog.getLogger("factory")
    logger.info(metric={"a": 1}, step=7)
    logger.info("text", extra={"fold": 3})
    (metric,), (line,) = metrics(run), logs(run)
    assert (metric["step"], metric["metric"]) == (7, {"a": 1})
    assert line["extra"]["fold"] == 3


@pytest.mark.parametrize("extra", [["a"], "text", 7])
def test_an_extra_that_is_no_mapping_never_raises(extra: Any, run: mlog.Run) -> None:
    logger = mlog.getLogger("mistakes")
    with pytest.warns(mlog.MlogWarning, match="extra must be a mapping") as caught:
        call(
            lambda: logger.info("text", extra=extra),
            lambda: logger.info(metric={"a": 1}, extra=extra),
        )
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [entry["extra"] for entry in logs(run)] == [{"extra_": extra}]
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1}]


def test_a_step_of_the_wrong_kind_is_left_out(run: mlog.Run) -> None:
    logger = mlog.getLogger("mistakes")
    given: Any = "three"
    with pytest.warns(mlog.MlogWarning, match="step"):
        logger.info(metric={"a": 1}, step=given)
    (entry,) = metrics(run)
    assert entry["metric"] == {"a": 1}
    assert "step" not in entry


def test_empty_metrics_are_warned_about(run: mlog.Run) -> None:
    with pytest.warns(mlog.MlogWarning, match="no metrics"):
        mlog.getLogger("mistakes").info(metric={})
    assert metrics(run) == []


@pytest.mark.usefixtures("quiet")
def test_warnings_as_errors_do_not_reach_the_caller(
    run: mlog.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A logging call never raises, also under `-W error`: the text goes to stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mlog.getLogger("mistakes").info("text", loss=0.3)
    assert (
        "mlog: warning: a logging call has no keyword loss=" in capsys.readouterr().err
    )
    assert [entry["extra"] for entry in logs(run)] == [{"loss": 0.3}]


ARGUMENTS: dict[str, list[Any]] = {
    "msg": ["", "text", "%s", "%d %d", None, {"a": 1}, object()],
    "metric": [None, {}, {"a": 1}, {1: object()}, {"a": float("nan")}, 3, "x"],
    "step": [None, 3, -1, 1 << 70, 0.5, "x", float("inf")],
    "extra": [None, {}, {"msg": 1, "step": "x"}, {"metric": {"b": 2}}, {1: 2}, 5],
}


def test_no_combination_of_arguments_raises(run: mlog.Run) -> None:
    """Promise 1: a logging call never raises into training."""
    logger = mlog.getLogger("never")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for msg, metric, step, extra in itertools.product(*ARGUMENTS.values()):
            logger.info(msg, metric=metric, step=step, extra=extra)
            logger.info(msg, "an argument", metric=metric, step=step)


# --- no run ----------------------------------------------------------------------------


def test_a_metric_without_a_run_is_shown_and_warned_about_once(
    shown: io.StringIO,
) -> None:
    """It is for ordinary handlers then, and nothing is kept."""
    logging.root.setLevel(logging.INFO)
    logger = mlog.getLogger("outside")
    with pytest.warns(mlog.MlogWarning, match="no run open") as caught:
        call(
            lambda: logger.info(metric={"loss": 0.3}, step=3),
            lambda: logger.info(metric={"loss": 0.3}, step=4),
            lambda: logger.info("text", metric={"loss": 0.3}),
        )
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert shown.getvalue() == "loss=0.3 step=3\nloss=0.3 step=4\ntext\n"


def test_after_a_run_metrics_are_still_taken(shown: io.StringIO) -> None:
    """The upgrade stays; the run does not take them any more."""
    logging.root.setLevel(logging.INFO)
    logger = logging.getLogger("outside")
    with mlog.start_run("tap") as run:
        mlog.getLogger("outside").info(metric={"a": 1})
    later: Any = logging.getLogger("made later")
    with pytest.warns(mlog.MlogWarning, match="no run open"):
        later.info(metric={"a": 2})
    mlog.getLogger("outside").info("x", metric={"a": 3})
    assert isinstance(logger, mlog.MetricLogger)
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1}]
    assert shown.getvalue() == "a=1\na=2\nx\n"


@pytest.mark.usefixtures("quiet")
def test_extra_without_a_run_is_inert(shown: io.StringIO) -> None:
    """A library that logs metrics warns nobody."""
    mlog.install()
    logging.getLogger("library").warning("text", extra={"metric": {"a": 1}})
    assert shown.getvalue() == "text\n"


@pytest.mark.usefixtures("quiet")
def test_a_disabled_run_warns_about_nothing() -> None:
    with mlog.start_run("tap", disabled=True):
        mlog.getLogger("off").info(metric={"a": 1})
        mlog.getLogger("off").info("text", metric={"a": 1}, extra={"b": 1})


def test_import_alone_changes_nothing() -> None:
    """Without a run, `metric=` is the TypeError that it is without mlog."""
    child = run_python(
        """
import logging
before = logging.getLogger("x")
import mlog
assert type(before) is type(logging.getLogger("y")) is logging.Logger
assert type(logging.root) is logging.RootLogger
assert logging.getLoggerClass() is logging.Logger
assert logging.root.manager.loggerClass is None
try:
    before.warning("text", metric={"a": 1})
except TypeError:
    print("as without")
""",
        env=ENV,
    )
    assert (child.stdout, child.stderr) == ("as without\n", "")


# --- getLogger, install, uninstall -----------------------------------------------------


def test_get_logger_is_logging_s_own() -> None:
    assert mlog.getLogger("same") is logging.getLogger("same")
    assert id(mlog.getLogger()) == id(logging.root)
    assert isinstance(mlog.getLogger("same"), mlog.MetricLogger)
    assert isinstance(logging.root, logging.RootLogger)


def test_installs_are_counted() -> None:
    logger = logging.getLogger("counted")
    mlog.install()
    mlog.install()
    assert isinstance(logger, mlog.MetricLogger)
    mlog.uninstall()
    assert isinstance(logger, mlog.MetricLogger)
    mlog.uninstall()
    assert type(logger) is logging.Logger
    mlog.uninstall()  # one too many does nothing
    assert not is_installed()
    mlog.install()
    assert isinstance(logger, mlog.MetricLogger)


def test_uninstall_leaves_all_as_it_was() -> None:
    before = logging.getLogger("exact.before")
    before.setLevel(logging.ERROR)
    mlog.install()
    during = logging.getLogger("exact.during")
    assert isinstance(during, mlog.MetricLogger)
    mlog.uninstall()
    assert type(before) is type(during) is logging.Logger
    assert type(logging.root) is logging.RootLogger
    assert type(logging.getLogger("exact.after")) is logging.Logger
    assert logging.getLoggerClass() is logging.Logger
    assert logging.root.manager.loggerClass is None
    assert before.level == logging.ERROR


class Spoken(logging.Logger):
    """A class of somebody's own, with a method more."""

    def say(self) -> str:
        return f"{self.name} speaks"


class Loud(logging.Logger):
    """A class whose level methods are its own."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        super().info(f"{msg}!", *args, **kwargs)


def test_a_class_set_before_is_upgraded(run_dir: Path) -> None:
    """Its own methods stay, and so do loggers made of it."""
    logging.setLoggerClass(Spoken)
    before = logging.getLogger("foreign.before")
    with mlog.start_run("tap") as run:
        after = logging.getLogger("foreign.after")
        for logger in (before, after):
            assert isinstance(logger, Spoken)
            assert isinstance(logger, mlog.MetricLogger)
            assert logger.say() == f"{logger.name} speaks"
            logger.info("text", metric={"a": 1})
        assert logging.getLoggerClass() is Spoken
    assert len(metrics(run)) == 2
    mlog.uninstall()
    while is_installed():
        mlog.uninstall()
    assert type(before) is type(after) is Spoken
    assert logging.getLoggerClass() is Spoken


def test_a_class_set_afterwards_is_upgraded() -> None:
    """Others may call `setLoggerClass` at any time, with what they derive from."""
    with mlog.start_run("tap") as run:

        class Derived(logging.getLoggerClass()):  # type: ignore[misc]
            def say(self) -> str:
                return "derived"

        logging.setLoggerClass(Derived)
        logger: Any = logging.getLogger("derived")
        assert logger.say() == "derived"
        logger.info(metric={"a": 1})
        logging.setLoggerClass(logging.Logger)
        logging.getLogger("stock again").info("", extra={"metric": {"a": 2}})
    assert [entry["metric"]["a"] for entry in metrics(run)] == [1, 2]
    while is_installed():
        mlog.uninstall()
    assert type(logger) is Derived
    assert type(logging.getLogger("stock again")) is logging.Logger


def test_a_manager_s_class_set_by_others_is_kept() -> None:
    manager = logging.root.manager
    manager.setLoggerClass(Spoken)
    mlog.install()
    logger = logging.getLogger("managed")
    assert isinstance(logger, mlog.MetricLogger)
    assert isinstance(logger, Spoken)
    mlog.uninstall()
    assert manager.loggerClass is Spoken
    assert type(logger) is Spoken
    manager.loggerClass = None


def test_a_class_with_level_methods_of_its_own_is_left_alone(
    shown: io.StringIO,
) -> None:
    """What it does would be lost; `mlog.getLogger` upgrades it because it is asked to."""
    logging.setLoggerClass(Loud)
    with mlog.start_run("tap"):
        logger = logging.getLogger("loud")
        assert type(logger) is Loud
        logger.setLevel(logging.INFO)
        logger.info("text")
        assert shown.getvalue() == "text!\n"
        mlog.getLogger("loud").info(metric={"a": 1})
    assert isinstance(logger, Loud)
    while is_installed():
        mlog.uninstall()
    assert type(logger) is Loud


def test_methods_given_to_all_loggers_stay() -> None:
    """Libraries put their own on `logging.Logger`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Logger, "shout", lambda self: "loud", raising=False)
        logger: Any = mlog.getLogger("patched")
        assert logger.shout() == "loud"
        root: Any = mlog.getLogger()
        assert root.shout() == "loud"


def test_the_signatures_tell_what_may_be_given() -> None:
    for name in ("debug", *LEVELS, "log"):
        given = inspect.signature(getattr(mlog.MetricLogger, name)).parameters
        assert {"msg", "metric", "step", "kwargs"} <= given.keys(), name
        assert given["metric"].kind is inspect.Parameter.KEYWORD_ONLY
        assert given["msg"].default == ""
