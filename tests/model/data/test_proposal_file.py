from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.coco import CocoDataset
from model.data.faults import DataError
from model.data.proposal_file import ImageProposals, ProposalSet
from tests.model.conftest import CocoFolder, noise


def some(count: int, seed: int) -> ImageProposals:
    rng = np.random.default_rng(seed)
    corner = rng.random((count, 2)).astype(np.float32) * 20
    scores = np.sort(rng.random(count).astype(np.float32))[::-1].copy()
    boxes = np.concatenate([corner, corner + 5], axis=1)
    return ImageProposals(boxes, scores, rng.integers(2, 7, count).astype(np.uint8))


COUNTS = (4, 0, 3)


@pytest.fixture
def dataset(folder: CocoFolder) -> CocoDataset:
    for name, size in (("a.png", (30, 40)), ("b.png", (50, 40)), ("c.png", (30, 60))):
        folder.add_image(name, size)
    return folder.read()


@pytest.fixture
def given() -> list[ImageProposals]:
    return [some(count, seed) for seed, count in enumerate(COUNTS)]


@pytest.fixture
def file(dataset: CocoDataset, given: list[ImageProposals], tmp_path: Path) -> Path:
    path = tmp_path / "proposals" / "train.npz"
    ProposalSet.gather(dataset.records, given).save(path)
    return path


def test_a_file_gives_back_each_images_proposals(
    dataset: CocoDataset, given: list[ImageProposals], file: Path
) -> None:
    found = ProposalSet.read(file, dataset)
    for record, expected in zip(dataset.records, given, strict=True):
        ours = found.of(record.image_id, 99)
        assert np.array_equal(ours.boxes, expected.boxes)
        assert np.array_equal(ours.scores, expected.scores)
        assert np.array_equal(ours.levels, expected.levels)
    best = found.of(dataset.records[0].image_id, 2)
    assert np.array_equal(best.boxes, given[0].boxes[:2])
    assert [path.name for path in file.parent.iterdir()] == ["train.npz"]


def test_a_file_may_hold_more_images_than_are_used(dataset: CocoDataset, file: Path) -> None:
    fewer = replace(dataset, records=dataset.records[1:])
    assert len(ProposalSet.read(file, fewer).of(dataset.records[2].image_id, 99).scores) == 3


def test_the_digest_is_that_of_the_contents(dataset: CocoDataset, file: Path) -> None:
    one, other = ProposalSet.read(file, dataset), ProposalSet.read(file, dataset)
    assert one.digest == other.digest
    assert replace(other, scores=other.scores[::-1]).digest != one.digest


def test_other_ids_are_refused_by_name(dataset: CocoDataset, file: Path) -> None:
    first, *others = dataset.records
    strange = replace(dataset, records=(replace(first, image_id=77), *others))
    with pytest.raises(DataError, match=r"train.npz.*lacks image ids: 1: 77 \(a.png\)"):
        ProposalSet.read(file, strange)


def test_another_size_is_refused_by_name(dataset: CocoDataset, file: Path) -> None:
    first, *others = dataset.records
    strange = replace(dataset, records=(replace(first, size=(31, 40)), *others))
    with pytest.raises(DataError, match=r"a.png \(file \(30, 40\), image \(31, 40\)\)"):
        ProposalSet.read(file, strange)


def test_another_image_under_the_same_name_is_refused(dataset: CocoDataset, file: Path) -> None:
    noise((30, 60), 99).convert("L").convert("RGB").save(dataset.records[2].path)
    with pytest.raises(DataError, match=r"names or contents do not: 1: c.png"):
        ProposalSet.read(file, dataset)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_what_is_no_file_of_proposals_is_refused(
    dataset: CocoDataset, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="x.npz: expected a file of fpn-propose"):
        ProposalSet.read(path, dataset)


def test_pickles_are_not_read(dataset: CocoDataset, file: Path) -> None:
    with np.load(file) as content:
        arrays = dict(content) | {"scores": np.array([object()])}
    np.savez(file, **arrays, allow_pickle=True)
    with pytest.raises(DataError, match="expected a file of fpn-propose"):
        ProposalSet.read(file, dataset)


def test_parts_that_do_not_fit_together_are_refused(dataset: CocoDataset, file: Path) -> None:
    with np.load(file) as content:
        arrays = dict(content) | {"boxes": content["boxes"][1:]}
    np.savez(file, **arrays)
    with pytest.raises(DataError, match="do not fit together"):
        ProposalSet.read(file, dataset)
