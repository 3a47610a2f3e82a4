"""What training images go through beside the flip: another scale, other colours, copies of small objects.

Scale and colour are torchvision's own transforms; copying is ours, for no library knows it. What is random comes from a
draw's seed (epochs.py), so that a resumed run, or another number of processes, sees the same images. The size of the
content is the one that the image would have without, so frames do not change.

Sources: Ghiasi et al. 2021, "Simple copy-paste ...", section 4 (large-scale jitter); Liu et al. 2016 (SSD), section 3.2
(colour); Kisantal et al. 2019, "Augmentation for small object detection" (copies).

Legend
    G   boxes of an image       h w     (height, width) of its content
"""

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from model.config.resize import ResizeRule, Size
from model.config.training import AugmentConfig
from model.data.transforms import image_tensor, scale_boxes, stretch

# What a smaller image is put on: ImageNet's mean, which the network sees as nearly nothing.
GREY = (124, 116, 104)
# A box of which less than this share is left, or less than this many pixels a side, is an object no longer.
LEAST_LEFT, LEAST_SIDE = 0.2, 2.0
# COCO's small: below 32 x 32 pixels. A copy has so many tries to find a free place.
SMALL_AREA, TRIES = 32.0**2, 20

Augmented = tuple[Tensor, Tensor, Tensor]


def augmented(
    image: Image.Image,
    targets: tuple[Tensor, Tensor],
    rule: ResizeRule,
    config: AugmentConfig,
    seed: int,
) -> Augmented:
    """The content uint8 [3, h, w] of an image, its boxes [G, 4] and labels [G], G being another number perhaps.

    Args:
        image: RGB, as it was read.
        targets: its boxes, in its pixels, and labels.
        rule: what it would be resized by without.
        config: what happens.
        seed: of all that is random.
    """
    boxes, labels = targets
    size = rule.content_size((image.height, image.width))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.scale is None:
            boxes = scale_boxes(boxes, (image.height, image.width), size)
            content = image_tensor(stretch(image, size, rule.interpolation))
        else:
            content, boxes, labels = _at_another_scale(image, (boxes, labels), size, config.scale)
        if config.copies:
            content, boxes, labels = _with_copies(content, boxes, labels, config.copies)
        if config.colour:
            content = v2.RandomPhotometricDistort(p=config.colour)(content)
    return content, boxes, labels


def _at_another_scale(
    image: Image.Image, targets: tuple[Tensor, Tensor], size: Size, scale: tuple[float, float]
) -> Augmented:
    """The image larger or smaller by a factor of `scale`, then cut, or put on grey, to `size`."""
    boxes, labels = targets
    marked = tv_tensors.BoundingBoxes(
        boxes, format="XYXY", canvas_size=(image.height, image.width), dtype=torch.float32
    )
    jitter = v2.ScaleJitter(size[::-1], scale, antialias=True)  # which takes the width first
    resized, marked = jitter(image, marked)
    # the crop clips what it cuts, so the whole boxes' areas are taken before
    whole = _areas(marked.as_subclass(Tensor))
    crop = v2.RandomCrop(size, pad_if_needed=True, fill=GREY)
    cut, marked = crop(resized, marked)
    boxes = v2.ClampBoundingBoxes()(marked).as_subclass(Tensor)
    sides = boxes[:, 2:] - boxes[:, :2]
    left = (sides >= LEAST_SIDE).all(dim=1) & (_areas(boxes) >= LEAST_LEFT * whole)
    return image_tensor(cut), boxes[left], labels[left]


def _with_copies(content: Tensor, boxes: Tensor, labels: Tensor, count: int) -> Augmented:
    """`content` with small objects of its own once more, where nothing is."""
    _, height, width = content.shape
    small = torch.nonzero(_areas(boxes) < SMALL_AREA).flatten()
    content = content.clone()
    for index in small[torch.randperm(len(small))[:count]].tolist():
        x1, y1 = (int(v) for v in boxes[index, :2].floor())
        x2, y2 = (int(v) for v in boxes[index, 2:].ceil())
        patch = content[:, y1:y2, x1:x2].clone()
        for _ in range(TRIES):
            x = int(torch.randint(width - (x2 - x1) + 1, ()))
            y = int(torch.randint(height - (y2 - y1) + 1, ()))
            place = torch.tensor([x, y, x + x2 - x1, y + y2 - y1], dtype=torch.float32)
            if not _overlapped(place, boxes):
                content[:, y : y + y2 - y1, x : x + x2 - x1] = patch
                moved = boxes[index] + torch.tensor([x - x1, y - y1, x - x1, y - y1])
                boxes = torch.cat([boxes, moved[None]])
                labels = torch.cat([labels, labels[index : index + 1]])
                break
    return content, boxes, labels


def _overlapped(place: Tensor, boxes: Tensor) -> bool:
    """Whether any of `boxes` has a part within `place`."""
    return bool(((boxes[:, :2] < place[2:]) & (boxes[:, 2:] > place[:2])).all(dim=1).any())


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
