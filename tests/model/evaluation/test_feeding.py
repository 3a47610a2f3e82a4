import numpy as np
import pytest
import torch
from PIL import Image

from model.config.resize import ResizeRule
from model.evaluation.feeding import Frames, Loading, frame_batches
from tests.model.conftest import CocoFolder

RESIZE = ResizeRule(short_side=128, max_side=224)


def batches(folder: CocoFolder, loading: Loading) -> list[Frames]:
    return list(frame_batches(folder.read(), RESIZE, loading))


def test_each_image_alone_decides_its_bucket_and_only_its_bucket_shares_a_batch(
    coloured: CocoFolder,
) -> None:
    shapes = [tuple(frames.images.shape) for frames in batches(coloured, Loading(batch_size=8))]
    assert sorted(shapes) == [
        (1, 3, 128, 128),
        (1, 3, 224, 128),
        (2, 3, 128, 224),
        (3, 3, 128, 192),
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_every_image_comes_once_in_batches_of_the_size_at_most(
    coloured: CocoFolder, batch_size: int
) -> None:
    indices = [frames.indices for frames in batches(coloured, Loading(batch_size))]
    assert sorted(sum(indices, [])) == list(range(7))
    assert max(map(len, indices)) == min(batch_size, 3)


def test_an_image_lies_top_left_with_its_resized_size_and_zeros_around_it(
    folder: CocoFolder,
) -> None:
    folder.add_image("a.png", (130, 260))
    (frames,) = batches(folder, Loading())
    height, width = 112, 224  # the longest side is 224
    assert frames.sizes.tolist() == [[height, width]]
    content = frames.images[0, :, :height, :width]
    expected = folder.read().load(0)[0].resize((width, height), Image.Resampling.BILINEAR)
    assert np.array_equal(content.permute(1, 2, 0).numpy(), np.asarray(expected))
    assert int(frames.images.sum()) == int(content.sum())


@pytest.mark.filterwarnings("default:.*fork.*:DeprecationWarning")
def test_loading_processes_give_the_same_batches_in_the_same_order(coloured: CocoFolder) -> None:
    here, there = (batches(coloured, Loading(2, workers)) for workers in (0, 1))
    assert len(here) == len(there) == 5
    for ours, theirs in zip(here, there, strict=True):
        assert ours.indices == theirs.indices
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.sizes, theirs.sizes)


@pytest.mark.parametrize("progress", [True, False])
def test_a_progress_bar_counts_the_images_if_it_is_wanted(
    coloured: CocoFolder, progress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    batches(coloured, Loading(2, progress=progress, bar_after_s=0))
    assert ("0/7" in capsys.readouterr().err) == progress
