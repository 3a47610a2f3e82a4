"""Made images that a comparison looks at beside photographs: crowded ones, and one with nothing in it.

Legend
    N   images of a batch       H W  the frame
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.resize import Size

# Of a crowded image.
DISCS = 60


def made_batch(count: int, frame: Size, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """An empty image, where there is more than one, and crowded ones; contents of different sizes.

    Images uint8 [count, 3, H, W] and sizes int64 [count, 2], (height, width). The empty one is not of one colour: there
    every place answers alike but for rounding, which then decides what suppresses what (of a ResNet-50's proposals on
    black 0.76 to 0.81 matched, on all other images 0.999 and more).
    """
    images = torch.zeros((count, 3, *frame), dtype=torch.uint8)
    sizes = []
    for index in range(count):
        height, width = (side - int(generator.integers(0, side // 4)) for side in frame)
        sizes.append((height, width))
        discs = 0 if index == 1 else DISCS
        image = _picture((height, width), discs, generator)
        images[index, :, :height, :width] = torch.from_numpy(image)
    return images, torch.tensor(sizes)


def _picture(size: Size, discs: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """An image [3, height, width] of so many shaded discs of all sizes on a slope of colour, with a sensor's noise."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = generator.uniform(0, 255, (3, 1, 1)) * (x / width) + 255 * generator.random() * (
        y / height
    )
    image = slope / 2
    for radius in np.geomspace(min(size) / 3, 4, discs):
        centre_y, centre_x = generator.uniform(0, height), generator.uniform(0, width)
        stretch = generator.uniform(0.5, 2.0)
        distance = np.hypot((y - centre_y) * stretch, x - centre_x) / radius
        shade = generator.uniform(0, 255, (3, 1, 1)) * (1.2 - 0.6 * np.minimum(distance, 1.0))
        image = np.where(distance < 1, shade, image)
    image += generator.normal(0, 8, image.shape)
    clipped: NDArray[np.uint8] = image.clip(0, 255).astype(np.uint8)
    return clipped
