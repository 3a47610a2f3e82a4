"""Which boxes of two answers are the same: sets of them, matched one to one, and ties as sets.

Two answers of one network differ by float32's rounding. Mostly that moves a box or a score by a little. Where two
boxes' scores are the same but for rounding, it also decides which of them suppresses the other, and so which is
answered; and what the one that stays suppresses in turn. Such a set of boxes matches the set that stands for it.

Legend
    M K  boxes of an image in one answer and in the other        free   a box that no box of the other answer is
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from model.network.boxes import box_iou

# Two overlaps are as good as equal to a threshold within it: rounding moves a side of 10 pixels by 1e-4 of them.
OVERLAP_NOISE = 1e-4


class Boxes(NamedTuple):
    """One image's boxes of one kind: boxes [M, 4], scores [M], groups [M] (labels or levels)."""

    boxes: Tensor
    scores: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Rule:
    """How the boxes of a kind came to be the answer.

    Attributes:
        suppression: the overlap past which a better box of the group suppresses another; 0: none did, and box k of
            one answer stands for box k of the other.
        least_score: what scores must pass.
        limit: how many may be answered.
    """

    suppression: float
    least_score: float
    limit: int


class Likeness(NamedTuple):
    """When two boxes are the same: their overlap, and how far apart their scores are at most; and when scores tie."""

    min_iou: float
    max_score_difference: float
    tie: float


@dataclass
class Tally:
    """Matches boxes of one kind, image by image, and sums up.

    Attributes:
        compared: boxes of both sides.
        matched: of them, those that are the same.
        tied: and those that are not, but for which a tie accounts.
        box_differences, score_differences: of the matched, in pixels and in probabilities.
    """

    rule: Rule
    likeness: Likeness
    compared: int = 0
    matched: int = 0
    tied: int = 0
    box_differences: list[Tensor] = field(default_factory=list)
    score_differences: list[Tensor] = field(default_factory=list)

    def add(self, mine: Boxes, theirs: Boxes) -> None:
        """Pair the boxes that are the same; each stands in one pair at most, the best overlaps first."""
        left, right = self._pairs(mine, theirs)
        self.compared += len(mine.scores) + len(theirs.scores)
        self.matched += 2 * len(left)
        self.box_differences.append((mine.boxes[left] - theirs.boxes[right]).abs().flatten())
        self.score_differences.append((mine.scores[left] - theirs.scores[right]).abs())
        self.tied += _tied(mine, theirs, (left, right), self.rule, self.likeness.tie)

    def share(self) -> float:
        """Of all boxes on both sides, those that matched or tied; 1 when there was nothing to match."""
        return (self.matched + self.tied) / self.compared if self.compared else 1.0

    def _pairs(self, mine: Boxes, theirs: Boxes) -> tuple[list[int], list[int]]:
        same = mine.groups[:, None] == theirs.groups[None, :]
        apart = (mine.scores[:, None] - theirs.scores[None, :]).abs()
        same &= apart <= self.likeness.max_score_difference
        overlap = torch.where(same, box_iou(mine.boxes, theirs.boxes), 0.0)
        pairs = torch.nonzero(overlap > self.likeness.min_iou)
        pairs = pairs[overlap[pairs[:, 0], pairs[:, 1]].argsort(descending=True, stable=True)]
        return _one_to_one(pairs)


def _one_to_one(pairs: Tensor) -> tuple[list[int], list[int]]:
    """Of `pairs` [P, 2], best first, those whose members have not been taken."""
    mine: dict[int, int] = {}
    taken: set[int] = set()
    for left, right in pairs.tolist():
        if left not in mine and right not in taken:
            mine[left] = right
            taken.add(right)
    return list(mine.keys()), list(mine.values())


def _tied(
    mine: Boxes, theirs: Boxes, pairs: tuple[list[int], list[int]], rule: Rule, tie: float
) -> int:
    """How many free boxes, of both sides, there are because of a tie."""
    free = torch.ones(len(mine.scores), dtype=torch.bool)
    other_free = torch.ones(len(theirs.scores), dtype=torch.bool)
    free[pairs[0]], other_free[pairs[1]] = False, False
    if not rule.suppression:
        alike = (mine.scores - theirs.scores).abs() <= tie
        return int((free & alike).sum() + (other_free & alike).sum())
    together = mine.groups[:, None] == theirs.groups[None, :]
    overlap = torch.where(together, box_iou(mine.boxes, theirs.boxes), 0.0)
    ahead = theirs.scores[None, :] - mine.scores[:, None]  # (M, K)
    known = free & _borderline(mine.scores, theirs.scores, overlap, ahead, rule, tie)
    other_known = other_free & _borderline(
        theirs.scores, mine.scores, overlap.T, -ahead.T, rule, tie
    )
    above = overlap > rule.suppression - OVERLAP_NOISE
    either = above & free[:, None] & other_free[None, :]
    tied = either & (ahead.abs() <= tie)
    known, other_known = known | tied.any(dim=1), other_known | tied.any(dim=0)
    counts = -1
    while counts != (counts := int(known.sum() + other_known.sum())):
        # what a box that is there by a tie suppresses
        known = known | (either & (ahead >= -tie) & other_known[None, :]).any(dim=1)
        other_known = other_known | (either & (ahead <= tie) & known[:, None]).any(dim=0)
    return counts


def _borderline(
    scores: Tensor, others: Tensor, overlap: Tensor, ahead: Tensor, rule: Rule, tie: float
) -> Tensor:
    """True [M] where rounding alone may have kept a box out of the other answer: at a threshold, or at the limit."""
    at_overlap = ((overlap - rule.suppression).abs() <= OVERLAP_NOISE) & (ahead >= -tie)
    least = rule.least_score
    if len(others) >= rule.limit:
        least = max(least, float(others.min()))
    return at_overlap.any(dim=1) | (scores <= least + tie)
