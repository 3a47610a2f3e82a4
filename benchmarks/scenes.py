"""Boxes that stand for proposals: scattered over a frame, crowded around objects, or a model's own on a photograph."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from export.runtime import onnxruntime as ort
from model.config.resize import Size
from model.network.boxes import clip_boxes

Scene = Literal["scattered", "crowded"]
SCENES: tuple[Scene, ...] = ("scattered", "crowded")

# Log-uniform sides between these, so that every level has its share; sides of a box differ by up to 2.
SIDES = (16.0, 600.0)
LARGEST_ASPECT = 2.0
OBJECTS, JITTER = 20, 0.15  # of a crowded scene; the jitter is of an object's sides


def synthetic_boxes(scene: Scene, images: int, count: int, frame: Size, seed: int = 0) -> Tensor:
    """Boxes float32 [images, count, 4] inside the frame, in no order."""
    generator = torch.Generator().manual_seed(seed)
    objects = count if scene == "scattered" else OBJECTS
    low, high = (torch.tensor(side).log() for side in SIDES)
    side = (low + (high - low) * torch.rand((images, objects), generator=generator)).exp()
    spread = 2 * torch.rand((images, objects), generator=generator) - 1
    aspect = LARGEST_ASPECT ** (spread / 2)
    sides = torch.stack([side * aspect, side / aspect], dim=-1)  # (images, objects, 2)
    centres = torch.rand((images, objects, 2), generator=generator)
    centres *= torch.tensor([frame[1], frame[0]])
    chosen = torch.arange(count) % objects
    centres, sides = centres[:, chosen], sides[:, chosen]
    if scene == "crowded":
        centres = centres + JITTER * sides * torch.randn(centres.shape, generator=generator)
        sides = sides * torch.exp(JITTER * torch.randn(sides.shape, generator=generator))
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)
    return clip_boxes(boxes, torch.tensor([frame]).expand(images, 2))


def model_boxes(model: Path, photograph: Path, count: int, frame: Size) -> Tensor:
    """The model's best proposals float32 [1, at most count, 4] on a photograph, best first."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    with Image.open(photograph) as image:
        pixels = np.asarray(image.convert("RGB").resize((frame[1], frame[0])))
    feed = {"images": pixels.transpose(2, 0, 1)[None].copy(), "sizes": np.array([frame])}
    boxes, scores, counts = session.run(
        ["proposal_boxes", "proposal_scores", "proposal_counts"], feed
    )
    real = np.arange(boxes.shape[2]) < counts[0, :, None]  # (levels, K)
    best = np.argsort(-scores[0][real], kind="stable")[:count]
    return torch.from_numpy(boxes[0][real][best])[None]
