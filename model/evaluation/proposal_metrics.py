"""Average recall of proposals, whatever the class of what they hold: Table 1 of the FPN paper.

AR@d is the recall of the best d proposals of an image, the mean over the ten IoU thresholds 0.50,
0.55 .. 0.95; ARs, ARm and ARl are that of the best 1,000 for objects of each size, which is the
annotation's `area`. As with pycocotools and `useCats` 0: classes do not matter, crowds are neither
found nor missed, and the best 1,000 are picked before they are matched. Figures of Detectron2's
proposal evaluation come from another matcher and do not belong beside these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.evaluation.scoring import EVERY_AREA, LARGE, MEDIUM, SMALL, mean_measured, or_none, score
from model.evaluation.tables import Row, percents

# Three, because the COCO tools take no fewer, and ascending.
LIMITS = (1, 100, 1000)
# Places in LIMITS.
_BEST_100, _BEST_1000 = 1, 2


@dataclass(frozen=True)
class ProposalMetrics:
    """Recall in 0..1, NaN where there is nothing to find; `per_image` proposals on average."""

    AR100: float
    AR1k: float
    ARs: float
    ARm: float
    ARl: float
    per_image: float

    def as_json(self) -> dict[str, float | None]:
        """The figures fit for JSON, which has null for NaN."""
        return {name: or_none(value) for name, value in asdict(self).items()}

    def recalls(self) -> dict[str, float]:
        """The recalls under the names of the paper's columns."""
        return {
            "AR@100": self.AR100,
            "AR@1k": self.AR1k,
            "ARs@1k": self.ARs,
            "ARm@1k": self.ARm,
            "ARl@1k": self.ARl,
        }

    def row(self) -> Row:
        """The figures as cells of a table: recall in percent."""
        return percents(self.recalls()) | {"an image": f"{self.per_image:.0f}"}


def proposal_metrics(
    ground_truth: Mapping[str, Any], proposals: Sequence[Mapping[str, Any]]
) -> ProposalMetrics:
    """How much of the ground truth the proposals find.

    Args:
        ground_truth: a COCO document.
        proposals: of each image_id, bbox (x, y, width, height) and score; what else they say,
            a category too, is not read.

    Raises:
        ValueError: a proposal is of an image that the ground truth does not have.
    """
    # Even with useCats 0, results without a category that exists are silently not looked at.
    category = ground_truth["categories"][0]["id"]
    results = [
        {
            "image_id": proposal["image_id"],
            "category_id": category,
            "bbox": proposal["bbox"],
            "score": proposal["score"],
        }
        for proposal in proposals
    ]
    recall = score(ground_truth, results, LIMITS, by_class=False).recall[:, 0]  # (T, A, M)
    return ProposalMetrics(
        AR100=mean_measured(recall[:, EVERY_AREA, _BEST_100]),
        AR1k=mean_measured(recall[:, EVERY_AREA, _BEST_1000]),
        ARs=mean_measured(recall[:, SMALL, _BEST_1000]),
        ARm=mean_measured(recall[:, MEDIUM, _BEST_1000]),
        ARl=mean_measured(recall[:, LARGE, _BEST_1000]),
        per_image=len(results) / len(ground_truth["images"]),
    )


def level_metrics(
    ground_truth: Mapping[str, Any], by_level: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, ProposalMetrics]:
    """The metrics of all levels together, under `all`, and of each level's own proposals.

    Args:
        ground_truth: a COCO document.
        by_level: the proposals of each level, as `proposal_metrics` takes them.
    """
    together = [proposal for level in by_level.values() for proposal in level]
    return {
        name: proposal_metrics(ground_truth, proposals)
        for name, proposals in {"all": together, **by_level}.items()
    }
