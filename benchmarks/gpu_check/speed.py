"""Images a second, latency and memory for batches, in each precision, beside torchvision's eager detector.

One contender is loaded at a time, so that the memory is its own; each runs every batch, several rounds.
"""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.engine.artifacts import Artifacts
from benchmarks.engine.networks import (
    DEFAULT_FRAME,
    RESNET50_FRAME,
    default_detector,
    seeded_resnet50,
)
from benchmarks.engine.photographs import MOST, photographs
from benchmarks.engine.processes import Child, ContenderFailed
from benchmarks.gpu_check.host import device, gpu_memory_bytes
from benchmarks.gpu_check.parts import Finding, Wrong

CPU_KINDS = {"float32": "ours, float32", "eager": "torchvision, eager float32"}
CUDA_KINDS = {
    "cuda-float16": "ours, float16",
    "cuda-eager-float16": "torchvision, eager float16",
    "cuda-float32": "ours, float32",
    "cuda-eager": "torchvision, eager float32",
}
HEADS = (
    *("network", "contender", "batch", "images/s", "median s", "slowest s"),
    *("memory of the host", "memory of the GPU"),
)
# What the design asks of an H100: docs/results.md has them.
TARGET_IMAGES_PER_S, TARGET_RATIO = 150.0, 1.5
FRAMES = {"default": DEFAULT_FRAME, "resnet50": RESNET50_FRAME}


@dataclass(frozen=True)
class Effort:
    """How much is measured: batch sizes, rounds of each, CPU threads, and the longest that a run may take."""

    batches: tuple[int, ...]
    rounds: int
    threads: int
    limit_s: float = 300.0


@dataclass
class Row:
    """A contender at a batch size.

    Attributes:
        seconds: of a batch, one each round.
        failed: why there are none.
    """

    network: str
    contender: str
    batch: int
    seconds: list[float] = field(default_factory=list)
    host_bytes: int = 0
    gpu_bytes: int = 0
    failed: str = ""

    @property
    def images_per_s(self) -> float:
        """Of the median batch; 0 where it failed."""
        return self.batch / median(self.seconds) if self.seconds else 0.0

    def cells(self) -> list[str]:
        """The row of the table."""
        if self.failed:
            return [self.network, self.contender, str(self.batch), self.failed]
        gpu = f"{self.gpu_bytes / 2**20:,.0f} MiB" if self.gpu_bytes else "no GPU"
        return [
            *(self.network, self.contender, str(self.batch), f"{self.images_per_s:.1f}"),
            *(f"{median(self.seconds):.4f}", f"{max(self.seconds):.4f}"),
            *(f"{self.host_bytes / 2**20:,.0f} MiB", gpu),
        ]


def speed(network: str, given: dict[str, Path], effort: Effort) -> Finding:
    """The table of `network`, "default" or "resnet50"; `given` are files of ours by precision."""
    images = photographs(FRAMES[network])
    detector = default_detector() if network == "default" else seeded_resnet50(images[0])
    # As many as the largest batch: the same ones over again.
    images = np.concatenate([images] * -(-max(effort.batches) // MOST))
    kinds = CUDA_KINDS if device() == "cuda" else CPU_KINDS
    with TemporaryDirectory() as folder:
        artifacts = Artifacts(detector, images[:MOST], Path(folder), given)
        path = Path(folder) / "photographs.npy"
        np.save(path, images)
        rows = [
            row
            for kind, name in kinds.items()
            for row in _measured(kind, (network, name), artifacts.path(kind), path, effort)
        ]
    figures = {"rows": [vars(row) | {"images_per_s": row.images_per_s} for row in rows]}
    finding = Finding(said_of(network, rows), HEADS, [row.cells() for row in rows], figures)
    if not any(row.seconds for row in rows):
        raise Wrong(f"nothing could be measured: {rows[0].failed}")
    return finding


def said_of(network: str, rows: list[Row]) -> str:
    """One line on the fastest, and on the targets where there are any."""
    best = {name: _best(rows, name) for name in {row.contender for row in rows}}
    ours, peer = best.get("ours, float16", 0.0), best.get("torchvision, eager float16", 0.0)
    if device() == "cpu":
        ours, peer = best["ours, float32"], best["torchvision, eager float32"]
    ratio = f"{ours / peer:.2f} times" if peer else "nothing to compare with of"
    said = f"{ours:.1f} images/s at best, {ratio} torchvision's eager detector"
    if device() == "cpu":
        return f"{said}; float16 skipped: no GPU, and a CPU has no convolution for it"
    if network == "resnet50":
        reached = ours >= TARGET_IMAGES_PER_S and ours >= TARGET_RATIO * peer
        said += (
            f"; the target on an H100, {TARGET_IMAGES_PER_S:.0f} images/s and {TARGET_RATIO} times, is"
            f" {'reached' if reached else 'missed'}; the paper has 6 on an M40 (ResNet-50, 800 pixels)"
        )
    return said


def _best(rows: list[Row], contender: str) -> float:
    return max(row.images_per_s for row in rows if row.contender == contender)


def _measured(
    kind: str, names: tuple[str, str], model: Path, images: Path, effort: Effort
) -> list[Row]:
    rows = [Row(*names, batch) for batch in effort.batches]
    before = gpu_memory_bytes()
    try:
        with Child(kind, model, images, effort.threads, effort.limit_s) as child:
            for row in rows:
                _fill(row, child, effort.rounds, before)
    except ContenderFailed as failure:
        for row in rows:
            row.failed = row.failed or ("" if row.seconds else str(failure))
    return rows


def _fill(row: Row, child: Child, rounds: int, before: int) -> None:
    # Allocates, and chooses algorithms for this shape.
    child.ask("run", batch=row.batch)
    for _ in range(rounds):
        answer: dict[str, Any] = child.ask("run", batch=row.batch)
        row.seconds.append(answer["seconds"])
    row.host_bytes = child.ask("peak")["bytes"]
    row.gpu_bytes = max(0, gpu_memory_bytes() - before)
