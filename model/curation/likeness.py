"""Which photographs are the same picture: by a hash of their gradients, so that another size or quality is still it.

The difference hash (Krawetz, "Kind of Like That", 2013) of 16 x 16 gradients: each bit says whether a pixel of the
shrunken gray image is brighter than its left neighbour.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from model.data.pictures import UnreadableImage, read_image

SIDE = 16
# Bits of 256 in which two hashes of one picture may differ. Saved again as JPEG of quality 30, or smaller at 60 or 95,
# 40 photographs each of bccd and aquarium differ from themselves in 3 to 5 bits, 19 of 20 in at most 10; two different
# ones of bccd, which look much alike, in 79 or more, and neighbouring frames of aquarium's videos in 33 or more.
SAME = 24

Hashes = npt.NDArray[np.uint8]


def difference_hashes(paths: Sequence[Path]) -> Hashes:
    """A hash uint8 [len(paths), 32] of each image; zeros of one that cannot be decoded."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        hashed = threads.map(_hash, paths)
        shown = tqdm(hashed, desc="comparing images", total=len(paths), leave=False, delay=2.0)
        return np.array(list(shown), dtype=np.uint8).reshape(-1, SIDE * SIDE // 8)


def alike(ours: Hashes, theirs: Hashes) -> list[tuple[int, int]]:
    """The pairs (place in `ours`, place in `theirs`) of the same picture."""
    pairs = []
    for place, one in enumerate(ours):
        if not one.any():  # of one colour, or not decoded: like any other such
            continue
        distances = np.bitwise_count(theirs ^ one).sum(axis=1)
        pairs += [(place, int(other)) for other in np.flatnonzero(distances <= SAME)]
    return pairs


def _hash(path: Path) -> Hashes:
    try:
        image = read_image(path).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    except UnreadableImage:
        return np.zeros(SIDE * SIDE // 8, dtype=np.uint8)
    gray = np.asarray(image, dtype=np.int16)
    return np.packbits(gray[:, 1:] > gray[:, :-1])
