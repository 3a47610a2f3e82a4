"""Photographs that every contender is given: those that scikit-image carries, at the very size of the frame.

They are stretched to the frame, so that no contender resizes or pads and all see the same pixels.
"""

from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
MOST = 2 * len(NAMES)  # each once as it is and once mirrored


def photographs(frame: tuple[int, int]) -> NDArray[np.uint8]:
    """MOST photographs [MOST, 3, H, W] RGB of `frame` (H, W)."""
    folder = Path(skimage.__file__).parent / "data"
    height, width = frame
    plain = [
        np.asarray(Image.open(folder / name).convert("RGB").resize((width, height)))
        for name in NAMES
    ]
    both = np.stack([*plain, *(image[:, ::-1] for image in plain)])
    return np.ascontiguousarray(both.transpose(0, 3, 1, 2))  # (MOST, H, W, 3) -> (MOST, 3, H, W)
