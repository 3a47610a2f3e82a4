"""Images to tensors: resizing, letterboxing, the horizontal flip, and boxes that go along.

size    (height, width) in pixels, always in this order
frame   the H x W array that an image is placed in, top-left; what the image leaves is zero
boxes   float32 [..., 4], x1 y1 x2 y2 pixels of the image that they accompany
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from model.config.resize import Interpolation, ResizeRule, Size
from model.data.pictures import read_image, read_size


def resize_image(image: Image.Image, original: Size, rule: ResizeRule) -> Image.Image:
    """The RGB image of an `original` size, perhaps decoded at a part of it, at the size that `rule` gives it."""
    return stretch(image, rule.content_size(original), rule.interpolation)


def frame_image(image: Image.Image, original: Size, rule: ResizeRule) -> tuple[Tensor, Size]:
    """What inference takes of an upright RGB image: pixels uint8 [3, H, W] in its bucket, and its content's size.

    `original` is the size of the whole image, of which `image` may be decoded at a part.

    Raises:
        ValueError: the image is not RGB.
    """
    content = resize_image(image, original, rule)
    size = content.height, content.width
    return letterbox(content, rule.bucket(size)), size


def frame_file(path: Path, rule: ResizeRule) -> tuple[Tensor, Size]:
    """What inference takes of an image file: as `frame_image`, decoded as large as that needs it.

    Raises:
        UnreadableImage: the pixels cannot be decoded.
    """
    return frame_image(read_image(path, rule), read_size(path), rule)


def stretch(
    image: Image.Image, size: Size, interpolation: Interpolation = "pillow-bilinear"
) -> Image.Image:
    """The RGB image at `size`, with Pillow's antialiased bilinear filter or without antialiasing."""
    height, width = size
    if interpolation == "pillow-bilinear":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    return _stretch_plainly(image, size)


def _stretch_plainly(image: Image.Image, size: Size) -> Image.Image:
    """As torch's `interpolate(mode="bilinear", align_corners=False)` on floats, rounded to 8 bits."""
    height, width = size
    # Output pixel centres to input positions; beyond the outermost centres the border's own value holds. On bands of
    # floats, for on bytes Pillow drops fractions.
    matrix = (image.width / width, 0.0, 0.0, 0.0, image.height / height, 0.0)
    bands = [
        band.convert("F").transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        for band in image.split()
    ]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def image_tensor(image: Image.Image) -> Tensor:
    """The pixels of an RGB image, uint8 [3, height, width].

    Raises:
        ValueError: the image is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB image, got mode {image.mode}")
    # (height, width, 3) -> (3, height, width)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def letterbox(image: Image.Image, frame: Size) -> Tensor:
    """The RGB image in the top-left corner of a frame, uint8 [3, H, W]; the rest is zero.

    Raises:
        ValueError: the frame does not hold the image, or the image is not RGB.
    """
    pixels = image_tensor(image)
    _, height, width = pixels.shape
    H, W = frame
    if height > H or width > W:
        raise ValueError(f"an image of {(height, width)} does not fit into a frame of {frame}")
    framed = torch.zeros((3, H, W), dtype=torch.uint8)
    framed[:, :height, :width] = pixels
    return framed


def scale_boxes(boxes: Tensor, size: Size, new_size: Size) -> Tensor:
    """The boxes of an image of `size` as they lie when it is resized to `new_size`.

    The ratios are applied in float64, so that a box within the image stays within it exactly.
    """
    y_ratio, x_ratio = new_size[0] / size[0], new_size[1] / size[1]
    ratios = torch.tensor([x_ratio, y_ratio, x_ratio, y_ratio], dtype=torch.float64)
    return (boxes.double() * ratios.to(boxes.device)).float()


def flip_horizontal(image: Image.Image, boxes: Tensor) -> tuple[Image.Image, Tensor]:
    """The mirror image and its boxes, in their order."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    mirrored = torch.stack((image.width - x2, y1, image.width - x1, y2), dim=-1)
    return ImageOps.mirror(image), mirrored
