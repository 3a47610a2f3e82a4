"""One session of all cores against several of few: images/s, latency and CPU seconds.

    python -m benchmarks.threads deploy/models/default/model.onnx --batch 1

Every layout runs in every round, in an order that turns, so that a machine that slows down slows all
of them. Each session has a driver thread of its own that runs batch after batch. Figures are medians
over the rounds; the ratio is taken within a round, against the first layout. With `--decode N`, N
threads decode a photograph over and over meanwhile, as they do in a busy server: spinning takes from
them what it gives to the session.
"""

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import read_manifest
from service.engine.runtime import ort
from service.pictures.decoding import decode_image

Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Layout:
    """How many sessions, of how many threads, and how these wait for work."""

    sessions: int
    threads: int
    spinning: bool = True
    parallel: bool = False  # two branches of the graph at once, each with the threads of all

    def __str__(self) -> str:
        """As it is called in the table."""
        marks = ("" if self.spinning else ", no spinning") + (", inter-op" if self.parallel else "")
        return f"{self.sessions} x {self.threads}{marks}"


@dataclass(frozen=True)
class Measured:
    """What a layout did in a round."""

    images_per_s: float
    latency_s: float
    cpu_s_per_image: float
    decoded_per_s: float


class Decoders:
    """Threads that decode a photograph until they are told to stop; `count` grows meanwhile."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stop = threading.Event()
        self._counts: list[int] = []

    @property
    def count(self) -> int:
        """How many photographs have been decoded."""
        return sum(self._counts)

    @contextmanager
    def running(self, threads: int) -> Iterator[None]:
        """Decodes in that many threads."""
        self._counts = [0] * threads
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for index in range(threads):
                pool.submit(self._decode, index)
            try:
                yield
            finally:
                self._stop.set()

    def _decode(self, index: int) -> None:
        while not self._stop.is_set():
            decode_image(self._data, max_pixels=10**9)
            self._counts[index] += 1


def layouts(cores: int) -> list[Layout]:
    """One session of all cores first, then more sessions of fewer threads; each also without spinning."""
    shares = [(sessions, cores // sessions) for sessions in (1, 2, 4, 8) if sessions <= cores]
    ways = [Layout(s, t, spinning) for s, t in shares for spinning in (True, False)]
    return [*ways, Layout(1, cores, parallel=True)]


def open_sessions(model: Path, layout: Layout) -> list[ort.InferenceSession]:
    """The sessions of `layout`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = layout.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(layout.spinning)))
    if layout.parallel:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = 2
    return [
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(layout.sessions)
    ]


def measure(
    sessions: Sequence[ort.InferenceSession], feed: Feed, runs: int, decoders: Decoders
) -> Measured:
    """`runs` runs of every session, all sessions at once."""

    def drive(session: ort.InferenceSession) -> list[float]:
        seconds = []
        for _ in range(runs):
            began = perf_counter()
            session.run(None, feed)
            seconds.append(perf_counter() - began)
        return seconds

    with ThreadPoolExecutor(len(sessions)) as drivers:
        decoded, began, cpu_began = decoders.count, perf_counter(), process_time()
        latencies = [s for one in drivers.map(drive, sessions) for s in one]
        wall_s, cpu_s = perf_counter() - began, process_time() - cpu_began
    images = len(latencies) * len(feed["sizes"])
    return Measured(
        images / wall_s, median(latencies), cpu_s / images, (decoders.count - decoded) / wall_s
    )


def compare(
    model: Path, feed: Feed, rounds: int, decode_threads: int, photograph: bytes
) -> dict[Layout, list[Measured]]:
    """Every layout in every round, each for about as many images."""
    sessions = {layout: open_sessions(model, layout) for layout in layouts(os.cpu_count() or 1)}
    for each in sessions.values():
        for session in each:
            session.run(None, feed)
    order = list(sessions)
    results: dict[Layout, list[Measured]] = {layout: [] for layout in order}
    most = max(layout.sessions for layout in order)
    decoders = Decoders(photograph)
    with decoders.running(decode_threads):
        for turn in range(rounds):
            for layout in order[turn % len(order) :] + order[: turn % len(order)]:
                runs = most // layout.sessions * (4 if len(feed["sizes"]) == 1 else 1)
                results[layout].append(measure(sessions[layout], feed, runs, decoders))
    return results


def table(results: dict[Layout, list[Measured]]) -> str:
    """A Markdown table: medians over the rounds, and the median ratio to the first layout."""
    first = next(iter(results.values()))
    lines = [
        "| sessions x threads | images/s | ratio | latency of a batch, s | CPU s per image"
        " | decoded meanwhile, /s |",
        "|---|---|---|---|---|---|",
    ]
    for layout, rounds in results.items():
        ratio = median(a.images_per_s / b.images_per_s for a, b in zip(rounds, first, strict=True))
        lines.append(
            f"| {layout} | {median(r.images_per_s for r in rounds):.2f} | {ratio:.2f}"
            f" | {median(r.latency_s for r in rounds):.3f}"
            f" | {median(r.cpu_s_per_image for r in rounds):.3f}"
            f" | {median(r.decoded_per_s for r in rounds):.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.threads", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--decode", type=int, default=0, help="threads that decode meanwhile")
    parser.add_argument("--photograph", type=Path, default=Path("docs/cat.png"))
    options = parser.parse_args()
    feed = _feed(options.model, options.batch)
    photograph = options.photograph.read_bytes()
    results = compare(options.model, feed, options.rounds, options.decode, photograph)
    print(
        f"{options.model}, batch {options.batch}, frame {feed['images'].shape[2:]},"
        f" onnxruntime {ort.__version__}, {os.cpu_count()} cores, {options.rounds} rounds,"
        f" {options.decode} decoding threads\n\n{table(results)}"
    )
    return 0


def _feed(model: Path, batch: int) -> Feed:
    """Noise in the model's first frame: every level has proposals, as in a crowded photograph."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    bucket = read_manifest(session.get_modelmeta().custom_metadata_map["manifest"]).buckets[0]
    images = np.random.default_rng(0).integers(0, 256, (batch, 3, *bucket), np.uint8)
    return {"images": images, "sizes": np.array([bucket] * batch, np.int64)}


if __name__ == "__main__":
    sys.exit(main())
