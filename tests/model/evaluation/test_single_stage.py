"""One stage by itself, of a detector whose own findings are the ground truth."""

import numpy as np
import pytest
from PIL import Image

from model.data.coco import CocoDataset
from model.data.proposal_file import ImageProposals, ProposalSet
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from model.evaluation.inference import findings
from model.evaluation.results import detection_results, in_photograph, level_results
from model.evaluation.single_stage import metrics_among, propose_all, recall, stage_figures
from model.network.detector import Detector
from tests.detectors import CLASS_NAMES, noise
from tests.model.conftest import CocoFolder

LOADING = Loading(batch_size=2)
SIZES = [(64, 96), (120, 75), (90, 90), (50, 133)]


@pytest.fixture(scope="module")
def dataset(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Every third detection is an object, so that neither all nor none of them are right."""
    folder = CocoFolder(tmp_path_factory.mktemp("images"))
    folder.document["categories"] = [
        {"id": 5 * n + 5, "name": name} for n, name in enumerate(CLASS_NAMES)
    ]
    for number, (height, width) in enumerate(SIZES):
        pixels = noise(1, (64, 96), seed=number)[0].permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels).resize((width, height))
        folder.add_image(f"{number}.png", (height, width), image)
    blank = folder.read()
    for finding in findings(detector, blank, detector.config.resize, LOADING):
        record = finding.record
        detections = in_photograph(finding)
        for result in detection_results(record.image_id, detections, blank.category_ids)[::3]:
            folder.add_box(record.image_id, result["bbox"], result["category_id"])
    return folder.read()


@pytest.fixture(scope="module")
def proposals(detector: Detector, dataset: CocoDataset) -> ProposalSet:
    return propose_all(detector, dataset, LOADING)


def test_each_image_has_its_own_proposals_best_first_within_the_photograph(
    detector: Detector, dataset: CocoDataset, proposals: ProposalSet
) -> None:
    assert proposals.image_ids.tolist() == [record.image_id for record in dataset.records]
    for record in dataset.records:
        found = proposals.of(record.image_id, 1000)
        height, width = record.size
        assert 10 < len(found.scores) <= detector.config.rpn.post_nms_test
        assert (np.diff(found.scores) <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [width, height, width, height]).all()
        assert set(found.levels.tolist()) <= {2, 3, 4, 5, 6}


def test_proposals_are_those_that_feed_the_detections(
    detector: Detector, dataset: CocoDataset, proposals: ProposalSet
) -> None:
    for finding in findings(detector, dataset, detector.config.resize, LOADING):
        ours = proposals.of(finding.record.image_id, 1000)
        fed = [result for level in level_results(finding) for result in level]
        assert len(ours.scores) == len(fed)
        best = max(fed, key=lambda result: float(result["score"]))
        assert ours.scores[0] == pytest.approx(best["score"])
        x1, y1, x2, y2 = ours.boxes[0]
        assert [x1, y1, x2 - x1, y2 - y1] == pytest.approx(best["bbox"], abs=1e-3)


def test_a_second_stage_among_its_detectors_own_proposals_scores_as_the_whole(
    detector: Detector, dataset: CocoDataset, proposals: ProposalSet
) -> None:
    whole = evaluate(detector, dataset, LOADING).metrics
    assert 0.1 < whole.AP < 0.95
    among = metrics_among(detector, dataset, proposals, LOADING)
    assert among.summary() == pytest.approx(whole.summary(), abs=0.02, nan_ok=True)


def test_a_second_stage_finds_nothing_among_no_proposals(
    detector: Detector, dataset: CocoDataset
) -> None:
    none = ImageProposals(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.uint8)
    )
    empty = ProposalSet.gather(dataset.records, [none] * len(dataset))
    assert metrics_among(detector, dataset, empty, LOADING).AP == 0


def test_proposals_that_are_the_objects_are_recalled_whole(dataset: CocoDataset) -> None:
    right = [
        ImageProposals(
            r.boxes, np.ones(len(r.boxes), np.float32), np.full(len(r.boxes), 2, np.uint8)
        )
        for r in dataset.records
    ]
    assert recall(dataset, ProposalSet.gather(dataset.records, right)).AR1k == 1
    elsewhere = [ImageProposals(p.boxes + 1000, p.scores, p.levels) for p in right]
    assert recall(dataset, ProposalSet.gather(dataset.records, elsewhere)).AR1k == 0


def test_a_stage_has_the_figures_of_what_it_trained(
    detector: Detector, dataset: CocoDataset, proposals: ProposalSet
) -> None:
    table, figures = stage_figures(detector, dataset, "rpn", None, LOADING)
    assert figures["AR1k"] == recall(dataset, proposals).AR1k
    assert table.startswith("proposals ")
    _, figures = stage_figures(detector, dataset, "fast", proposals, LOADING)
    assert figures == metrics_among(detector, dataset, proposals, LOADING).scalars()
    _, figures = stage_figures(detector, dataset, "joint", None, LOADING)
    assert figures == evaluate(detector, dataset, LOADING).metrics.scalars()
