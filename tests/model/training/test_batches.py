import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.config.resize import ResizeRule
from model.data.faults import DataError
from model.training.batches import Batch, Sample, TrainingSet, collate, training_loader
from model.training.epochs import Draw, Share, divide
from tests.model.conftest import CocoFolder


def training_set(folder: CocoFolder) -> TrainingSet:
    folder.add_box(folder.add_image("wide.png", (20, 45)), [5, 3, 30, 10], category_id=7)
    folder.add_image("tall.png", (50, 21))
    folder.add_box(folder.add_image("long.png", (10, 90)), [0, 0, 90, 10])
    return TrainingSet(folder.read(), ResizeRule(short_side=40, max_side=80))


def test_a_sample_is_resized_with_its_boxes(folder: CocoFolder) -> None:
    sample = training_set(folder)[Draw(0, flip=False, short_side=40)]
    assert sample.image.shape == (3, 36, 80)  # 80 / 45 is less than 40 / 20
    expected = torch.tensor([[5 * 80 / 45, 3 * 36 / 20, 35 * 80 / 45, 13 * 36 / 20]])
    torch.testing.assert_close(sample.boxes, expected)
    assert sample.labels.tolist() == [1]


def test_a_jpeg_decoded_at_a_part_of_its_size_keeps_its_boxes_on_what_they_mark(
    folder: CocoFolder,
) -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[80:240, 150:450] = 255
    number = folder.add_image("large.jpg", (400, 600), Image.fromarray(image))
    folder.add_box(number, [150, 80, 300, 160])
    dataset = training_set(folder)
    index = [record.path.name for record in dataset.dataset.records].index("large.jpg")
    assert dataset.dataset.load(index, dataset.resize)[0].size == (150, 100)
    for flip in (False, True):
        sample = dataset[Draw(index, flip=flip, short_side=40)]
        assert sample.image.shape == (3, 40, 60)
        torch.testing.assert_close(sample.boxes, torch.tensor([[15.0, 8, 45, 24]]))
        assert sample.image[:, 9:23, 16:44].min() > 200
        assert sample.image[:, :7].max() < 50


def test_the_longest_side_scales_with_the_short_side(folder: CocoFolder) -> None:
    sample = training_set(folder)[Draw(2, flip=False, short_side=20)]
    assert sample.image.shape == (3, 4, 40)


def test_a_mirrored_sample_mirrors_pixels_and_boxes(folder: CocoFolder) -> None:
    dataset = training_set(folder)
    plain = dataset[Draw(0, flip=False, short_side=40)]
    mirrored = dataset[Draw(0, flip=True, short_side=40)]
    assert torch.equal(mirrored.image, plain.image.flip(2))
    x1, y1, x2, y2 = plain.boxes[0]
    torch.testing.assert_close(mirrored.boxes[0], torch.stack((80 - x2, y1, 80 - x1, y2)))


def test_a_picture_without_boxes_makes_a_sample(folder: CocoFolder) -> None:
    sample = training_set(folder)[Draw(1, flip=True, short_side=40)]
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == (0,)


def sample(height: int, width: int, boxes: int) -> Sample:
    image = torch.randint(1, 256, (3, height, width), dtype=torch.uint8)
    return Sample(image, torch.rand(boxes, 4), torch.arange(boxes))


@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(0, 3)), min_size=1, max_size=4
    )
)
def test_a_batch_holds_its_samples_top_left_and_nothing_else(
    shapes: list[tuple[int, int, int]],
) -> None:
    samples = [sample(*shape) for shape in shapes]
    batch = collate(samples, share_of(len(samples)))
    assert batch.images.shape == (len(shapes), 3, 96, 128)
    for image, size, one in zip(batch.images, batch.sizes.tolist(), samples, strict=True):
        height, width = size
        assert torch.equal(image[:, :height, :width], one.image)
        assert int(image.count_nonzero()) == 3 * height * width


def share_of(count: int) -> Share:
    """All of a batch of `count` pictures, in a frame that holds them."""
    return Share((), tuple(range(count)), count, (96, 128))


def test_a_frame_is_the_least_multiple_of_32_that_holds_its_pictures(folder: CocoFolder) -> None:
    dataset = training_set(folder)
    assert dataset.frame([Draw(0, False, 40), Draw(2, True, 40)]) == (64, 96)  # 36 x 80, 9 x 80
    assert dataset.frame([Draw(0, False, 20), Draw(1, False, 20)]) == (64, 64)  # 18 x 40, 40 x 17


def test_a_batch_keeps_types_and_targets() -> None:
    samples = [sample(20, 45, 2), sample(50, 21, 0)]
    batch = collate(samples, share_of(2))
    assert (batch.images.dtype, batch.sizes.dtype) == (torch.uint8, torch.int64)
    assert batch.sizes.tolist() == [[20, 45], [50, 21]]
    assert [boxes.shape for boxes in batch.gt_boxes] == [(2, 4), (0, 4)]
    assert [labels.tolist() for labels in batch.gt_labels] == [[0, 1], []]


def test_a_batch_moves_to_a_device_whole() -> None:
    moved = collate([sample(20, 45, 2), sample(50, 21, 0)], share_of(2)).to("meta")
    tensors = [moved.images, moved.sizes, *moved.gt_boxes, *moved.gt_labels]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.filterwarnings("default:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_the_planned_batches_in_order(folder: CocoFolder, workers: int) -> None:
    dataset = training_set(folder)
    batches = [[Draw(2, True, 20), Draw(0, False, 20)], [Draw(1, False, 40)]]
    steps = [divide(batch, dataset.frame(batch), 2) for batch in batches]
    loaded = [batch for step in training_loader(dataset, steps, workers) for batch in step]
    shares = [share for step in steps for share in step if share.draws]
    expected = [collate([dataset[draw] for draw in share.draws], share) for share in shares]
    assert len(loaded) == len(expected)
    for got, want in zip(loaded, expected, strict=True):
        assert isinstance(got, Batch)
        assert np.array_equal(got.images.numpy(), want.images.numpy())


@pytest.mark.filterwarnings("default:.*fork.*:DeprecationWarning")
def test_a_worker_that_meets_a_broken_picture_says_which(folder: CocoFolder) -> None:
    dataset = training_set(folder)
    (folder.root / "tall.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"tall\.png"):
        list(training_loader(dataset, [divide([Draw(1, False, 40)], (96, 96), 1)], 1))
