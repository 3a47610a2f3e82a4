"""What float32 itself does to a detector's answers on this machine: the same network, summed in other orders.

Rounding depends on the order of a sum, and no two engines have the same. How much of it shows depends on the network:
on how far a convolution's sums cancel, on how steep a softmax is, on how many boxes nearly tie. So it is measured: in
torch with channels last, without oneDNN's kernels, and in float64, which hardly rounds.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from export.differences import Asked, Comparison, Differences, largest
from export.matches import Likeness
from model.network.detector import Detections, Detector

# Two scores may move towards each other.
BOTH = 2
# How many batches are asked anew: without oneDNN's kernels a network takes some times as long, in float64 yet longer.
FEW, FEWEST = 4, 2


def noise_of(
    detector: Detector, asked: Sequence[Asked], plain: Sequence[Detections], likeness: Likeness
) -> tuple[dict[str, Differences], float]:
    """By kind, the most that another order of sums changes; and how far apart scores are at most that tie.

    Args:
        detector: in evaluation mode, on the CPU.
        asked: batches, the smallest first: on a few of them the slow orders are tried.
        plain: the detector's answers to them.
        likeness: when two boxes are the same.
    """
    orders = zip((len(asked), FEW, FEWEST), _other_sums(detector), strict=True)
    with torch.inference_mode():
        others = [[answer(batch) for batch in asked[:count]] for count, answer in orders]
    found = [_compared(detector, plain, other, likeness) for other in others]
    # the same boxes again, now that it is known how near a tie is
    most = max(largest(each, "max_score") for each in found)
    tie = min(BOTH * most, likeness.max_score_difference)
    likeness = likeness._replace(tie=tie)
    found = [_compared(detector, plain, other, likeness) for other in others]
    return {kind: _worst([each[kind] for each in found]) for kind in found[0]}, tie


def _compared(
    detector: Detector, plain: Sequence[Detections], other: list[Detections], likeness: Likeness
) -> dict[str, Differences]:
    comparison = Comparison(detector.config, likeness)
    for expected, got in zip(plain, other, strict=False):
        comparison.add(expected, got)
    return comparison.found()


def _worst(found: list[Differences]) -> Differences:
    return Differences(
        count=found[0].count,
        matched=min(each.matched for each in found),
        **{
            figure: max(getattr(each, figure) for each in found)
            for figure in ("tied", "max_box", "mean_box", "max_score", "mean_score")
        },
    )


def _other_sums(detector: Detector) -> list[Callable[[Asked], Detections]]:
    """`Detector.detect` with the same weights, its sums in another order each."""
    channels_last = copy.deepcopy(detector).to(memory_format=torch.channels_last)
    float64 = copy.deepcopy(detector).double()

    def with_channels_last(asked: Asked) -> Detections:
        images = asked.images.contiguous(memory_format=torch.channels_last)
        return channels_last.detect(images, asked.sizes, asked.regions)

    def without_onednn(asked: Asked) -> Detections:
        with _without_onednn():
            return detector.detect(*asked)

    def in_float64(asked: Asked) -> Detections:
        answer = float64.detect(asked.images, asked.sizes, asked.regions.double())
        return Detections(*(p.float() if p.is_floating_point() else p for p in answer))

    return [with_channels_last, without_onednn, in_float64]


@contextmanager
def _without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        # of a number format of Intel's GPUs, whose flag is set along
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            yield
