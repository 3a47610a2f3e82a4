"""The engine without a server, in a process of its own: `python -m benchmarks.server.bare MODEL PHOTOGRAPHS SECONDS`.

Wide is one session of all cores, one run at a time: what a lone photograph can have. Narrow is one session of one
thread with as many runs at once as there are cores: what a crowd can have. Each on frames that are ready, and with
decoding. PHOTOGRAPHS is a folder; the figures are one JSON object.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks.server.work import Work
from service.engine.cpus import usable_cores
from service.pictures.framing import Frame

T = TypeVar("T")
ARRAYS, DECODING = "the bare engine on frames", "the bare engine with decoding"


def measure(
    run: Callable[[T], object], inputs: Sequence[T], at_once: int, seconds: float
) -> dict[str, float]:
    """The rate of `run` on `inputs` in turn, so many at once for `seconds`, and a run's median."""
    durations: list[float] = []
    closes = time.perf_counter() + seconds

    def work(first: int) -> None:
        for each in islice(cycle(inputs), first, None):
            began = time.perf_counter()
            if began >= closes:
                return
            run(each)
            durations.append(time.perf_counter() - began)

    # This thread is one of them, as in a worker that does nothing else.
    others = [
        threading.Thread(target=work, args=(index * len(inputs) // at_once,))
        for index in range(1, at_once)
    ]
    began = time.perf_counter()
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    taken = time.perf_counter() - began
    return {"images_per_s": len(durations) / taken, "p50_s": median(durations)}


def main() -> None:
    """Print the figures."""
    model, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    photographs = [path.read_bytes() for path in sorted(folder.iterdir())]
    figures: dict[str, dict[str, dict[str, float]]] = {ARRAYS: {}, DECODING: {}}
    cores = usable_cores()
    for cell, threads, at_once in (("alone", cores, 1), ("crowd", 1, cores)):
        work = Work(model, threads)
        frames = [work.frame(each) for each in photographs]

        def run(frame: Frame, work: Work = work) -> None:
            work.run([frame])

        def decode_and_run(photograph: bytes, work: Work = work) -> None:
            work.run([work.frame(photograph)])

        for frame in frames:
            run(frame)
        figures[ARRAYS][cell] = measure(run, frames, at_once, seconds)
        figures[DECODING][cell] = measure(decode_and_run, photographs, at_once, seconds)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
