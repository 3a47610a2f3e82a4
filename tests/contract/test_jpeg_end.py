"""Training and service take the same JPEGs without their end, and see the same pixels in them."""

import numpy as np
import pytest
from PIL import Image

from model.data import jpeg_end as training
from service.pictures import jpeg_end as service
from tests.service.images import encoded, noise

WHOLE = encoded(Image.fromarray(noise(30, 45)), "JPEG", quality=90)


@pytest.mark.parametrize("missing", [1, 2, 3, 5, 50, len(WHOLE) - 3])
def test_a_jpeg_that_was_cut_is_taken_by_both_or_by_neither(missing: int) -> None:
    ours, theirs = training.with_end(WHOLE[:-missing]), service.with_end(WHOLE[:-missing])
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_only_the_end_marker_may_be_missing() -> None:
    assert service.with_end(WHOLE[:-2]) is not None
    assert service.with_end(WHOLE[:-50]) is None
