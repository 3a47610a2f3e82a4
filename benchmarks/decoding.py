"""Decoding in threads, in processes, and as the service divides it: images a second, and what the event loop feels.

    python -m benchmarks.decoding [--workers N] [--rounds N] [--json OUT]

All make the same frames of the same files with the service's own code, 16 in flight, in turns. The files are one
photograph of scikit-image's at a camera's sizes, with a sensor's noise. A stall is how late a task wakes up that sleeps
for five milliseconds, while six JPEG 2000 of 48 megapixels are decoded.
"""

import argparse
import asyncio
import io
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from statistics import median, quantiles
from time import perf_counter
from typing import Protocol

import numpy as np
from PIL import Image
from skimage import data as photographs

from benchmarks.machine import this_machine
from model.command_line import exit_status, output_file, positive, write_output
from service.artifact.manifest import ResizeRule
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Frame, Framing, load_frame
from service.pictures.pool import DecodingLimits, DecodingPool
from service.pictures.process import WorkerProcess

PROGRAM = "python -m benchmarks.decoding"
IN_FLIGHT = 16
BEAT_S = 0.005
MEMORY_BYTES = 2 * 2**30
# The default model's rule, and frames for everything that it gives.
RULE = ResizeRule(
    short_side=320,
    max_side=576,
    rounding="round",
    interpolation="pillow-bilinear",
    decoding="reduced",
)
FRAMING = Framing(RULE, [(320, 448), (448, 320), (320, 576), (576, 320)], 50_000_000)


class Decoder(Protocol):
    """What is measured."""

    async def frame(self, data: bytes, deadline: float) -> Frame:
        """The frame of the image in `data`."""

    async def stop(self) -> None:
        """Lets go of threads and processes."""


class Threads:
    """Decoding in threads alone."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers)

    async def frame(self, data: bytes, deadline: float) -> Frame:
        """The frame of the image in `data`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, load_frame, data, FRAMING)

    async def stop(self) -> None:
        """Lets go of the threads."""
        self._threads.shutdown()


class Processes:
    """Decoding in processes alone."""

    def __init__(self, workers: int) -> None:
        self._all = [WorkerProcess(FRAMING, MEMORY_BYTES) for _ in range(workers)]
        self._free: asyncio.Queue[WorkerProcess] = asyncio.Queue()

    async def start(self) -> None:
        """Returns once all take images."""
        for process in self._all:
            await process.started()
            self._free.put_nowait(process)

    async def frame(self, data: bytes, deadline: float) -> Frame:
        """The frame of the image in `data`."""
        process = await self._free.get()
        try:
            return (await process.shots(data, "off"))[0].frame
        finally:
            self._free.put_nowait(process)

    async def stop(self) -> None:
        """Ends the processes."""
        for process in self._all:
            await process.end()


@dataclass(frozen=True)
class Pace:
    """One decoder at one size of photograph: images a second, and the seconds of an image in flight."""

    photograph: str
    decoder: str
    images_per_s: float
    p50_s: float
    p99_s: float


def photograph(width: int, height: int, kind: str = "JPEG", **options: object) -> bytes:
    """A file of that size and kind."""
    size, generator = (width, height), np.random.default_rng(0)
    coffee = photographs.coffee()  # type: ignore[no-untyped-call]
    image = Image.fromarray(coffee).resize(size, Image.Resampling.BICUBIC)
    noise = generator.normal(0, 4, (height, width, 1)).astype(np.int16)
    pixels = (np.asarray(image).astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


async def pace(decoder: Decoder, data: bytes, images: int) -> tuple[float, list[float]]:
    """Images a second, and how long each was in flight."""
    seconds: list[float] = []
    left: Iterator[int] = iter(range(images))

    async def caller() -> None:
        for _ in left:
            began = perf_counter()
            await decoder.frame(data, inf)
            seconds.append(perf_counter() - began)

    began = perf_counter()
    await asyncio.gather(*[caller() for _ in range(IN_FLIGHT)])
    return images / (perf_counter() - began), seconds


async def stall(decoder: Decoder, data: bytes, images: int) -> float:
    """The most seconds for which the event loop stood still while the images were decoded."""
    latest = 0.0

    async def beat() -> None:
        nonlocal latest
        while True:
            began = perf_counter()
            await asyncio.sleep(BEAT_S)
            latest = max(latest, perf_counter() - began - BEAT_S)

    beating = asyncio.create_task(beat())
    await asyncio.gather(*[decoder.frame(data, inf) for _ in range(images)])
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
    return latest


async def measure(workers: int, rounds: int) -> tuple[list[Pace], dict[str, float]]:
    """The paces, and each decoder's stall."""
    processes = Processes(workers)
    await processes.start()
    limits = DecodingLimits(workers, MEMORY_BYTES, inf)
    decoders: dict[str, Decoder] = {
        "threads": Threads(workers),
        "processes": processes,
        "the service": DecodingPool(FRAMING, limits),
    }
    cases = {
        "640 x 480": (photograph(640, 480, quality=85), 300),
        "4000 x 3000": (photograph(4000, 3000, quality=90), 24),
    }
    paces = []
    for case, (data, images) in cases.items():
        measured: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in decoders}
        for number in range(rounds + 1):
            for name, decoder in decoders.items():
                one = await pace(decoder, data, images)
                # The first warms up.
                measured[name] += [one] if number else []
        for name, each in measured.items():
            seconds = [s for _, some in each for s in some]
            per_s = median(value for value, _ in each)
            paces.append(Pace(case, name, per_s, median(seconds), quantiles(seconds, n=100)[98]))
    held = photograph(
        8000, 6000, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[12]
    )
    stalls = {name: await stall(decoder, held, 6) for name, decoder in decoders.items()}
    for decoder in decoders.values():
        await decoder.stop()
    return paces, stalls


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _print)


def _print(options: argparse.Namespace) -> None:
    prepare_pillow()
    paces, stalls = asyncio.run(measure(options.workers, options.rounds))
    print(this_machine(), "\n")
    print("| photograph | decoded in | images/s | p50 s | p99 s |\n|---|---|---|---|---|")
    for each in paces:
        figures = f"{each.images_per_s:.1f} | {each.p50_s:.3f} | {each.p99_s:.3f}"
        print(f"| {each.photograph} | {each.decoder} | {figures} |")
    print("\n| decoded in | longest stall of the event loop, s |\n|---|---|")
    for name, seconds in stalls.items():
        print(f"| {name} | {seconds:.3f} |")
    if options.json:
        found = {"machine": this_machine(), "paces": list(map(asdict, paces)), "stalls_s": stalls}
        write_output(options.json, json.dumps(found, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Measure decoding.")
    parser.add_argument("--workers", type=positive, default=2, metavar="N")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N")
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="write all figures to this file"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
