"""The JPEGs that are sent: a folder's, or those of the photographs that scikit-image carries, in several sizes."""

import io
from itertools import product
from pathlib import Path

from PIL import Image

from model.errors import Refused

MOST = 48
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
# Shorter side 320 is the size of the photographs that the default model was measured with.
SHORT_SIDES = (320, 400, 512)
QUALITY = 75
CUTS = ((0, 0, 1, 1), (0, 0, 0.75, 1))  # the whole, and a part that stands upright or nearly so


def photographs(folder: Path | None) -> list[bytes]:
    """At most MOST JPEGs spread over those of `folder` by name; without one, scikit-image's.

    Raises:
        Refused: there are none.
    """
    if folder is None:
        return _carried()
    paths = sorted(path for path in folder.glob("*.jp*g"))
    if not paths:
        raise Refused(f"{folder}: expected JPEGs, found none")
    count = min(MOST, len(paths))
    return [paths[index * len(paths) // count].read_bytes() for index in range(count)]


def _carried() -> list[bytes]:
    import skimage

    found = Path(skimage.__file__).parent / "data"
    return [
        _jpeg(Image.open(found / name), cut, side)
        for side, cut, name in product(SHORT_SIDES, CUTS, NAMES)
    ]


def _jpeg(image: Image.Image, cut: tuple[float, float, float, float], short_side: int) -> bytes:
    width, height = image.size
    part = image.convert("RGB").crop(
        (
            round(cut[0] * width),
            round(cut[1] * height),
            round(cut[2] * width),
            round(cut[3] * height),
        )
    )
    scale = short_side / min(part.size)
    size = (round(part.width * scale), round(part.height * scale))
    file = io.BytesIO()
    part.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
