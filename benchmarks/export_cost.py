"""`python -m benchmarks.export_cost [CHECKPOINT]`: how long `fpn-export` takes, and how much memory.

The whole command, in a process of its own: loading, tracing, the comparison with torch at batch 1, 2, 3 and 8 of the
detector's frames, writing and opening the file. Without a checkpoint the detector is that of `benchmarks.engine --model
resnet50`: ResNet-50 at 800 x 1088, of seeded weights.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.artifacts import ROOT
from benchmarks.networks import RESNET50_FRAME, seeded_resnet50
from benchmarks.photographs import photographs
from model.network.checkpoint import save_checkpoint

TARGET_S, TARGET_BYTES = 180.0, 8 * 2**30


def main(arguments: list[str] | None = None) -> int:
    """The exit status of `fpn-export`."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.export_cost", description="Time and memory of an export."
    )
    parser.add_argument("checkpoint", nargs="?", type=Path, help="default: seeded ResNet-50")
    checkpoint = parser.parse_args(arguments).checkpoint
    with TemporaryDirectory() as folder:
        if checkpoint is None:
            checkpoint = Path(folder) / "model.pt"
            save_checkpoint(checkpoint, seeded_resnet50(photographs(RESNET50_FRAME)[0]))
        started = time.perf_counter()
        out = Path(folder) / "model.onnx"
        command = ["-m", "export", str(checkpoint.resolve()), "--out", str(out)]
        status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        seconds = time.perf_counter() - started
    held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"fpn-export ended with status {status}, {os.cpu_count()} cores")
    for what, value, limit in (
        ("seconds", seconds, TARGET_S),
        ("GiB held at most", held / 2**30, TARGET_BYTES / 2**30),
    ):
        verdict = (
            "MISS"
            if value > limit
            else "pass"
            if status == 0
            else "not the whole, for nothing was written"
        )
        print(f"* {verdict}: {value:.1f} {what}, at most {limit:g}")
    return status


if __name__ == "__main__":
    sys.exit(main())
