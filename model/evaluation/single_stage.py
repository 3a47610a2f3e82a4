"""Scoring one stage by itself: proposals without detections, and detections among given proposals."""

from typing import Any

import torch
from torch import Tensor

from model.config.resize import Size
from model.config.training import StageName
from model.data.coco import CocoDataset, Record
from model.data.proposal_file import ImageProposals, ProposalSet
from model.data.transforms import scale_boxes
from model.evaluation.detection_metrics import Metrics, coco_metrics, format_table
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading, frame_batches
from model.evaluation.inference import Finding
from model.evaluation.proposal_metrics import ProposalMetrics, proposal_metrics
from model.evaluation.results import box_results, category_ids, detection_results, in_photograph
from model.evaluation.tables import text_table
from model.network.detections import FinalBoxes
from model.network.detector import Detector
from model.network.proposals import stacked


def propose_all(detector: Detector, dataset: CocoDataset, loading: Loading) -> ProposalSet:
    """The proposals of the detector, in evaluation mode, in every image of the data set.

    Raises:
        DataError: an image cannot be decoded.
    """
    numbers = torch.tensor(detector.fpn.levels, dtype=torch.uint8)
    found: dict[int, ImageProposals] = {}
    for frames in frame_batches(dataset, detector.config.resize, loading):
        with torch.inference_mode():
            batch = detector.propose(*frames.on(detector.device))
        levels = numbers[:, None].expand(batch.valid.shape[1:])  # (L, K)
        for row, (index, content) in enumerate(zip(frames.indices, frames.contents, strict=True)):
            valid = batch.valid[row].cpu()
            logits, order = batch.logits[row].cpu()[valid].sort(descending=True, stable=True)
            boxes = batch.boxes[row].cpu()[valid][order]
            found[index] = ImageProposals(
                scale_boxes(boxes, content, dataset.records[index].size).numpy(),
                logits.sigmoid().numpy(),
                levels[valid][order].numpy(),
            )
    return ProposalSet.gather(dataset.records, [found[index] for index in range(len(dataset))])


def recall(dataset: CocoDataset, proposals: ProposalSet) -> ProposalMetrics:
    """Average recall of the proposals in the images of the data set."""
    results = []
    for record in dataset.records:
        found = proposals.of(record.image_id, len(proposals.boxes))
        boxes, scores = torch.from_numpy(found.boxes), torch.from_numpy(found.scores)
        results += box_results(record.image_id, boxes, scores)
    return proposal_metrics(dataset.ground_truth, results)


def metrics_among(
    detector: Detector, dataset: CocoDataset, proposals: ProposalSet, loading: Loading
) -> Metrics:
    """The COCO metrics of what the second stage makes of the best `rpn.post_nms_test` given proposals.

    Raises:
        DataError: no class in common, or an image cannot be decoded.
    """
    categories = category_ids(detector.class_names, dataset)
    device = detector.device

    def in_frame(record: Record, content: Size) -> Tensor:
        given = proposals.of(record.image_id, detector.config.rpn.post_nms_test)
        return scale_boxes(torch.from_numpy(given.boxes), record.size, content)

    results: list[dict[str, Any]] = []
    for frames in frame_batches(dataset, detector.config.resize, loading):
        records = [dataset.records[index] for index in frames.indices]
        placed = list(zip(records, frames.contents, strict=True))
        given = stacked([in_frame(record, content) for record, content in placed])
        boxes, valid = given.boxes.to(device), given.valid.to(device)
        with torch.inference_mode():
            batch = detector.detect_among(*frames.on(device), boxes, valid)
        batch = FinalBoxes(*(values.cpu() for values in batch))
        for row, (record, content) in enumerate(placed):
            found = FinalBoxes(*(values[row] for values in batch))
            detections = in_photograph(Finding(record, content, found))
            results += detection_results(record.image_id, detections, categories)
    return coco_metrics(dataset.ground_truth, results)


def stage_figures(
    detector: Detector,
    dataset: CocoDataset,
    stage: StageName,
    proposals: ProposalSet | None,
    loading: Loading,
) -> tuple[str, dict[str, float]]:
    """A text table and the figures of what the stage has trained, on the images of `dataset`.

    Args:
        detector: in evaluation mode.
        dataset: images and ground truth.
        stage: "rpn" has its proposals scored, "fast" its detections among `proposals`, "joint" its detections.
        proposals: of the images; only the stage "fast" has them.
        loading: how images are fed.
    """
    if stage == "rpn":
        recalls = recall(dataset, propose_all(detector, dataset, loading))
        figures = {k: v for k, v in recalls.as_json().items() if v is not None}
        return text_table("proposals", {"all": recalls.row()}), figures
    if proposals is not None:
        metrics = metrics_among(detector, dataset, proposals, loading)
    else:
        metrics = evaluate(detector, dataset, loading).metrics
    return format_table(metrics), metrics.scalars()
