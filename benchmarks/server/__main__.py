"""Our server against mosec, LitServe, BentoML and Ray Serve with the same file, photographs, client and arrivals.

    python3 -m venv .venv-peers && .venv-peers/bin/pip install -e '.[cpu,peers]'
    python -m benchmarks.server [--images FOLDER] [--results FILE] [--markdown FILE]

Every round starts each server in turn, on this host's loopback, measures every cell and ends it. Where a peer is not
installed, its row says so. With --results a later run adds its rounds to those of the file, so that a long race can be
run in pieces; --rounds 0 only prints. Our server takes the settings of the environment (FPN_...); `--ours NAME
VARIABLE=VALUE ...` adds it once more with others, or with PYTHONPATH=CHECKOUT from another checkout.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import this_machine
from benchmarks.server.answers import expected_of
from benchmarks.server.contenders import OURS, PEAK_OF, PEERS_PYTHON, ROOT, Contender, ours, peers
from benchmarks.server.photographs import photographs
from benchmarks.server.race import CELLS, Course, bare_round, peak_of, round_of
from benchmarks.server.results import Record, Results
from benchmarks.server.serving import NotServing
from benchmarks.server.summary import report
from benchmarks.server.work import Work
from model.command_line import exit_status, output_file, write_output
from model.errors import Refused
from service.engine.cpus import usable_cores

BARE = "the bare engine"
MODELS = [ROOT / "deploy/models/default" / name for name in ("model-int8.onnx", "model.onnx")]
QUICK_S = 0.3
VERSIONS = """
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in ("mosec", "litserve", "bentoml", "ray", "onnxruntime")), sep=", ")
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _race)


def _race(options: argparse.Namespace) -> None:
    if options.quick:
        options.rounds, options.seconds, options.peak = 1, QUICK_S, options.peak or 10.0
        options.most_others = math.inf
    results = Results.read(options.results) if options.results else Results()
    if options.rounds:
        contenders = _contenders(options)
        results.conditions.update(_conditions(options))
        images = photographs(options.images)
        for model in options.models:
            course = _course(options, model, images, results.peaks)
            for _ in range(options.rounds):
                _round(course, contenders, results, options.results)
    text = report(results)
    print(text)
    if options.markdown:
        write_output(options.markdown, text + "\n")


def _round(
    course: Course,
    contenders: Sequence[Contender | None],
    results: Results,
    file: Path | None,
) -> None:
    """One round of all; another begins each time, since what the machine gives changes within it."""
    model = course.model.name
    number = results.next_round(model)
    first = number % len(contenders)

    def take(record: Record) -> None:
        results.records.append(record)
        words = ", ".join(f"{name} {value:.4g}" for name, value in record.values.items())
        _tell(f"{model}, round {number}: {record.server}, {record.cell}: {words}")

    for contender in [*contenders[first:], *contenders[:first]]:
        if contender is None:
            bare_round(course, number, take)
            continue
        failures = results.failures.setdefault(model, {})
        failures.pop(contender.name, None)
        try:
            round_of(contender, course, number, take)
        except NotServing as why:
            failures[contender.name] = str(why)
            _tell(f"{model}, round {number}: {contender.name}: {why}")
        if file:
            results.write(file)


def _course(
    options: argparse.Namespace, model: Path, images: list[bytes], peaks: dict[str, float]
) -> Course:
    """What is run with `model`; its peak becomes one of `peaks`, if it is not given or there."""
    if not model.is_file():
        raise Refused(f"{model}: no such file")
    expected = expected_of(Work(model), images)
    course = Course(
        model.resolve(), images, expected, options.cells, options.seconds, 0.0, options.most_others
    )
    if options.peak:
        peaks[model.name] = options.peak
    elif model.name not in peaks and any("%" in cell for cell in options.cells):
        reference = {each.name: each for each in peers(options.peers, usable_cores())}[PEAK_OF]
        try:
            peaks[model.name] = peak_of(reference, course)
        except NotServing as why:
            raise Refused(f"--peak: expected a rate, since {PEAK_OF} has none: {why}") from why
        _tell(f"{model.name}: the peak is {peaks[model.name]:.1f} images/s")
    return replace(course, peak=peaks.get(model.name, 0.0))


def _contenders(options: argparse.Namespace) -> list[Contender | None]:
    """Those that were asked for; the bare engine is None."""
    every = [ours(OURS, {}), *(_ours(*words) for words in options.ours)]
    every += peers(options.peers, usable_cores())
    names = [*(each.name for each in every), BARE]
    unknown = [one for one in options.servers if not any(name.startswith(one) for name in names)]
    if unknown:
        raise Refused(
            f"--servers {unknown[0]}: expected the beginning of one of {', '.join(names)}"
        )
    pairs = zip(names, [*every, None], strict=True)
    return [each for name, each in pairs if name.startswith(tuple(options.servers))]


def _ours(name: str, *words: str) -> Contender:
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise Refused(f"--ours {name}: expected VARIABLE=VALUE after the name, got {wrong[0]}")
    return ours(name, dict(word.split("=", 1) for word in words))


def _conditions(options: argparse.Namespace) -> dict[str, str]:
    installed = ""
    if options.peers.exists():
        words = [str(options.peers), "-c", VERSIONS]
        installed = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    settings = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("FPN_")]
    return {
        "on": this_machine(),
        "photographs": str(options.images or "scikit-image's"),
        "seconds of a cell": f"{options.seconds:g}",
        "peers": installed.strip() or "not installed",
        "ours": f"onnxruntime {version('onnxruntime')}, {' '.join(settings) or 'as it ships'}",
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.server",
        description="Our server against its peers: images a second, latency, memory.",
    )
    parser.add_argument("--models", type=Path, nargs="+", default=MODELS, metavar="FILE")
    parser.add_argument(
        "--servers", nargs="+", default=[""], metavar="NAME", help="those whose names so begin"
    )
    parser.add_argument(
        "--ours", nargs="+", action="append", default=[], metavar=("NAME", "VARIABLE=VALUE"),
        help="our server once more, with these in its environment",
    )  # fmt: skip
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="its JPEGs")
    parser.add_argument("--peers", type=Path, default=PEERS_PYTHON, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=2, help="more of them (default: 2)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a cell (default: 2)")
    parser.add_argument(
        "--peak", type=float, default=0.0, help=f"images/s; default: those of {PEAK_OF}"
    )
    parser.add_argument(
        "--most-others", type=float, default=0.1, metavar="CORES",
        help="a cell during which other processes took more is measured again (default: 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=output_file, metavar="FILE", help="JSON, to which it adds"
    )
    parser.add_argument(
        "--markdown", type=output_file, metavar="FILE", help="also write the tables there"
    )
    parser.add_argument("--quick", action="store_true", help="only to see that it runs")
    return parser


if __name__ == "__main__":
    # As an interruption, so that the server that runs is ended, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
