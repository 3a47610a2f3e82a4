"""What the real Detectron2 and MMDetection answered, to weights that a rule makes again from their names.

A case is a folder with
    keys.json        the state dict: name -> shape, and what the case was made with
    predictors.npz   the tensors that no rule makes (they were fitted so that many objects of many classes are found)
    expected.npz     for frame k: k_boxes [n, 4] float32 xyxy pixels of the frame, k_scores [n], k_labels [n] from 0

Every other tensor comes from numpy's RandomState, whose stream is frozen, seeded by its name.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.references import Found, photograph

# Frames 0 to 3 are photographs of scikit-image's wheel, at sizes that need no padding.
FRAMES = (
    ("astronaut", (320, 416)),
    ("chelsea", (416, 320)),
    ("coffee", (320, 416)),
    ("rocket", (416, 320)),
)
CLASSES = tuple(f"class {i}" for i in range(20))


def state_dict(case: Path) -> dict[str, Tensor]:
    """All tensors of a case."""
    shapes = json.loads((case / "keys.json").read_text(encoding="utf-8"))["keys"]
    fitted = dict(np.load(case / "predictors.npz"))
    return {
        name: torch.from_numpy(
            fitted[name].astype(np.float32) if name in fitted else made(name, tuple(shape))
        )
        for name, shape in shapes.items()
    }


def expected(case: Path, frame: int) -> Found:
    """What the framework found in a frame."""
    found = np.load(case / "expected.npz")
    return Found(
        *(torch.from_numpy(found[f"{frame}_{part}"]) for part in ("boxes", "scores", "labels"))
    )


def frame(number: int) -> Tensor:
    """The frame, uint8 [3, height, width]."""
    return photograph(*FRAMES[number])


def made(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The tensor that the rule makes of a name."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    random = np.random.RandomState(
        int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    )
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    if name.endswith("running_mean"):
        return random.normal(0, 0.05, shape).astype(np.float32)
    if len(shape) > 1:  # He's rule
        fan_in = int(np.prod(shape[1:]))
        made: NDArray[Any] = random.standard_normal(shape) * np.sqrt(2 / fan_in)
        return made.astype(np.float32)
    if name.endswith("weight"):  # of a norm
        return random.uniform(0.2, 0.6, shape).astype(np.float32)
    of_norm = any(part in name for part in ("norm", "bn", "downsample.1"))
    return random.normal(0, 0.1 if of_norm else 0.01, shape).astype(np.float32)
