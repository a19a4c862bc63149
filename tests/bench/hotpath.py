"""What a logging call costs, against the cheapest durable way to write a line.

    python -m tests.bench.hotpath [--quick] [--only NAME[,NAME…]] [--json] [--dir DIR]

Run it in the project's folder with the test extra installed, on a machine that does
nothing else. The yardstick ("floor") is `orjson.dumps` of the same record plus one
`os.write` to an `O_APPEND` descriptor. Each case has a fresh process, where floor and
case take turns; the figure is the median of the repetitions' ratios, in brackets the
least and the greatest. Times per call include the timer (about 0.1 µs); p50 of calls
below the level is net of an empty call. Nothing here passes or fails: `over` beside a
budget is for a person to judge, since clocks of shared machines wander by 30 %.

Options:
    --quick   A tenth of the calls: for a first look.
    --only    Only the cases of these names (`--only list` prints them).
    --json    One JSON object per case instead of the table.
    --dir     Where to write; default: the temporary folder. The file system matters.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.cases import CASES, Case, folder_of
from tests.bench.measure import Measured, Setting, machine_text

_CALLS, _REPETITIONS = 20_000, 7
_QUICK_CALLS, _QUICK_REPETITIONS = 2_000, 5
_HEAD = ("case", "figure", "(min..max)", "unit", "budget", "", "p50 µs", "p99", "p99.9")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; 0, whatever the figures are."""
    options = _parser().parse_args(argv)
    if options.only == "list":
        print("\n".join(f"{name:<14}{case.title}" for name, case in CASES.items()))
        return 0
    names = _chosen(options.only)
    calls = _QUICK_CALLS if options.quick else _CALLS
    repetitions = _QUICK_REPETITIONS if options.quick else _REPETITIONS
    root = Path(tempfile.mkdtemp(prefix="mlog-bench-", dir=options.dir))
    try:
        if options.child:
            _as_child(options.child, Setting(root, options.calls, options.repetitions))
            return 0
        if not options.json:
            print(machine_text(root), _row(_HEAD), sep="\n", flush=True)
        for name in names:
            try:
                measured = _in_child(name, root, calls, repetitions)
            except subprocess.CalledProcessError:
                print(f"{name} failed, see above", file=sys.stderr, flush=True)
            else:
                _show(name, measured, as_json=options.json)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hotpath")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--only", help="names of cases with commas, or `list`")
    parser.add_argument("--json", action="store_true", help="one object per case")
    parser.add_argument("--dir", help="where to write; default: the temporary folder")
    for hidden, kind in (("--child", str), ("--calls", int), ("--repetitions", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser


def _chosen(only: str | None) -> list[str]:
    names = only.split(",") if only else list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.exit(f"no case {unknown[0]!r}; `--only list` prints the names")
    return names


def _as_child(name: str, setting: Setting) -> None:
    """Measure one case in this process and print what came out."""
    folder = folder_of(name, setting.folder)
    own = Setting(folder, setting.calls, setting.repetitions)
    print(json.dumps(asdict(CASES[name].measure(own))))


def _in_child(name: str, root: Path, calls: int, repetitions: int) -> Measured:
    """Measure one case in a fresh process, free of MLOG variables."""
    command = [sys.executable, "-m", "tests.bench.hotpath", "--child", name]
    command += ["--dir", str(root)]
    command += ["--calls", str(calls), "--repetitions", str(repetitions)]
    left_out = ("MLOG", "PYTHONDONTWRITEBYTECODE")  # imports are of compiled modules
    env = {k: v for k, v in os.environ.items() if not any(x in k for x in left_out)}
    env["MLOG_QUIET"] = "1"
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    return Measured(**json.loads(done.stdout))


def _show(name: str, measured: Measured, *, as_json: bool) -> None:
    case, figure = CASES[name], statistics.median(measured.values)
    if as_json:
        facts = {"case": name, "title": case.title, "figure": figure, "unit": case.unit}
        facts |= {"budget": case.budget, "verdict": _verdict(case, figure)}
        print(json.dumps(facts | asdict(measured)), flush=True)
        return
    low, high = _short(min(measured.values)), _short(max(measured.values))
    spread = f"({low}..{high})" if len(measured.values) > 1 else ""
    sign = "≥" if case.at_least else "≤"
    cells = [case.title, _short(figure), spread, case.unit]
    cells += [f"{sign} {case.budget:g}" if case.budget else "", _verdict(case, figure)]
    cells += list(_times(measured))
    print(f"{_row(cells)}  {measured.note}".rstrip(), flush=True)


def _verdict(case: Case, figure: float) -> str:
    if case.budget is None:
        return ""
    kept = figure >= case.budget if case.at_least else figure <= case.budget
    return "ok" if kept else "over"


def _times(measured: Measured) -> Iterator[str]:
    for nanoseconds in (measured.p50, measured.p99, measured.p999):
        yield "" if nanoseconds is None else f"{nanoseconds / 1e3:.2f}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _row(cells: Sequence[str]) -> str:
    case, figure, spread, unit, budget, verdict, *times = cells
    start = f"{case:<38}{figure:>7} {spread:<15} {unit:<12}{budget:<7}{verdict:<5}"
    return (start + "".join(f"{each:>9}" for each in times)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
