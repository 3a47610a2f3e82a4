"""What a run leaves behind and shows while it runs: metrics.jsonl, TensorBoard events, a progress line.

metrics.jsonl holds one JSON object a line, in the order of steps. A resumed run first drops the lines past its
checkpoint, so that nothing stands there twice: a line for each step, and one more where it was evaluated.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm


class Recorder:
    """Writes to a run's folder; a context manager.

    Args:
        folder: the run's.
        done: steps already done; later records of an interrupted run are dropped.
        total: steps of the whole run.

    Attributes:
        evaluations: step -> figures, of those that were recorded before.
    """

    def __init__(self, folder: Path, done: int, total: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = _keep_until(self.path, done) if self.path.exists() else []
        self.evaluations = {int(line["step"]): line for line in kept if "loss" not in line}
        self.lines = self.path.open("a", encoding="utf-8")
        self.board = SummaryWriter(str(folder), purge_step=done + 1)
        self.progress = tqdm(
            total=total, initial=done, unit="step", dynamic_ncols=True, mininterval=1.0
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close all three."""
        self.progress.close()
        self.board.close()
        self.lines.close()

    def step(self, step: int, values: Mapping[str, float], images_per_s: float) -> None:
        """Record one training step (counted from 1): losses, learning rate, speed."""
        self.record(step, {**values, "images_per_s": images_per_s})
        self.progress.set_postfix_str(
            f"{images_per_s:.2f} images/s "
            + " ".join(f"{name} {value:.3g}" for name, value in values.items())
        )
        self.progress.update()

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Write `values` under `step`."""
        print(json.dumps({"step": step, **values}), file=self.lines, flush=True)
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def say(self, text: str) -> None:
        """Print without tearing the progress line."""
        self.progress.write(text)


def _keep_until(path: Path, step: int) -> list[dict[str, float]]:
    """Drops the lines past `step` from the file; the others come back."""
    kept: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            if values["step"] <= step:
                kept.append(values)
        except ValueError:  # the line that a killed run was writing
            break
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)
    return kept
