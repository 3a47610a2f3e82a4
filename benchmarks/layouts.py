"""What wide and narrow runs do on this machine, alone and beside decoding: `python -m benchmarks.layouts MODEL`.

The layouts that the server chooses from, and its own way of measuring them (service/engine/tuning.py), with more time;
the rounds alternate, and figures are the fastest run of each. "Beside decoding" is with as many threads as there are
cores that decode a photograph over and over, as they do in a busy server.
"""

import argparse
import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import this_machine
from service.engine.cpus import usable_cores
from service.engine.engine import Engine, EngineOptions
from service.engine.layouts import Layout
from service.engine.tuning import Timing, candidates, measured
from service.pictures.decoding import decode_image

PHOTOGRAPH = Path(__file__).resolve().parents[1] / "docs/cat.jpg"


@contextmanager
def decoding(count: int) -> Iterator[None]:
    """`count` threads decode one JPEG over and over, until the block ends."""
    jpeg, over = io.BytesIO(), threading.Event()
    Image.open(PHOTOGRAPH).convert("RGB").save(jpeg, "JPEG", quality=90)

    def decode() -> None:
        while not over.is_set():
            decode_image(jpeg.getvalue(), 10**8)

    threads = [threading.Thread(target=decode) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Prints two tables, and what the sessions took of memory."""
    parser = argparse.ArgumentParser("benchmarks.layouts", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each table")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    options = parser.parse_args()
    engine = Engine(options.model, "cpu", 0, EngineOptions(runners=0))
    print(f"{this_machine()}\n{options.model}: {engine.manifest.precision}")
    held = {f"{n} threads": f"{size / 1e6:.0f} MB" for n, size in engine.session_bytes.items()}
    print(f"loading a session took {held}")
    for what, beside in (("alone", nullcontext()), ("beside decoding", decoding(usable_cores()))):
        with beside:
            timings = asyncio.run(_timings(engine, options.batches, options.seconds))
        print(f"\n{what}\n\n{_table(timings)}")


async def _timings(engine: Engine, batches: list[int], seconds: float) -> list[Timing]:
    buckets = sorted(engine.manifest.buckets, key=prod)
    middle = buckets[len(buckets) // 2]
    pixels = np.random.default_rng(0).integers(0, 256, (3, *middle), np.uint8)

    def run(layout: Layout) -> None:
        engine.run([pixels] * layout.batch, [middle] * layout.batch, layout=layout)

    with ThreadPoolExecutor(max(layout.runs for layout in engine.layouts)) as threads:
        return await measured(candidates(engine.layouts, batches), run, threads, seconds)


def _table(timings: list[Timing]) -> str:
    rows = [
        f"| {each.layout.runs} x {each.layout.threads} | {each.layout.batch} | {1000 * each.run_s:.1f} |"
        f" {each.images_per_s:.1f} | {each.images_per_s / timings[0].images_per_s:.2f} |"
        for each in timings
    ]
    head = ["| runs x threads | batch | ms a run | images/s | ratio |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    main()
