"""The frames that waste least on a data set: which buckets an exported model should have.

A frame costs what it has in pixels, padding included, so the best few buckets are those for which
the frames of a data set's images are smallest in sum. They must hold every size that the resize
rule can give, not only those of the data set, and their sides are multiples of the coarsest stride.
To the images are added one of the longest size that the rule gives, lying and standing, so that
such an image too gets no larger a frame than it needs where that costs the others nothing.

The search is exact. The sides of a best frame are sides of sizes that it holds, which makes the
candidates few. They are looked at from the smallest area up; a set of frames is known by the sizes
that it holds, and of the sets of as many frames that hold the same sizes only the least wasteful
can be part of the best. Since areas rise, the sizes that a frame adds are those whose smallest
frame it is, which is the one that `ResizeRule.bucket` gives them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from model.config.resize import ResizeRule, Size, least_frame

# Sizes held, as a bit mask -> the waste of holding them, and the frames that do.
_Sets = dict[int, tuple[int, tuple[Size, ...]]]


def best_buckets(sizes: Iterable[Size], rule: ResizeRule, most: int) -> tuple[Size, ...]:
    """At most `most` frames that hold every size which the rule can give, smallest area first.

    Args:
        sizes: of the images, before they are resized; there may be none.
        rule: the resize rule; its own buckets play no part.
        most: 1 or more; there are fewer frames if more would save nothing.

    Raises:
        ValueError: `most` is less than 1.
    """
    if most < 1:
        raise ValueError(f"expected one bucket or more, got {most}")
    if most == 1:
        return (least_frame(rule.extremes),)
    counts = Counter(least_frame([rule.content_size(size)]) for size in sizes)
    lying, standing = (least_frame([extreme]) for extreme in rule.extremes)
    counts.update((lying, standing))
    return _cheapest(counts, (lying, standing), most)


def padding_share(sizes: Sequence[Size], rule: ResizeRule) -> float:
    """The share of the frames' pixels that is padding, 0..1, for images of these sizes in the rule's buckets."""
    contents = [rule.content_size(size) for size in sizes]
    framed = sum(prod(rule.bucket(content)) for content in contents)
    return 1 - sum(map(prod, contents)) / framed


def _cheapest(counts: Mapping[Size, int], ends: tuple[Size, Size], most: int) -> tuple[Size, ...]:
    """The frames, at most `most`, that hold all sizes with the least waste.

    A set of sizes is a bit mask, and the waste of a size is what its frame has beyond the size
    itself. What is not held yet will waste at least what it would in the frame at hand, so a set
    that with this wastes more than a greedy choice leads nowhere.
    """
    sizes = sorted(counts)
    everything = (1 << len(sizes)) - 1
    candidates = _candidates(sizes)
    enough = _greedy_waste(counts, ends, candidates, most)
    # by the number of frames
    best: list[_Sets] = [{0: (0, ())}, *({} for _ in range(most))]
    for frame, held in candidates.items():
        wastes = [counts[size] * max(0, prod(frame) - prod(size)) for size in sizes]
        for taken in reversed(range(most)):
            best[taken] = {
                before: (waste, frames)
                for before, (waste, frames) in best[taken].items()
                if waste + _sum_of(wastes, everything ^ before) <= enough
            }
            for before, (waste, frames) in best[taken].items():
                after = before | held
                if after == before or (taken + 1 == most and after != everything):
                    continue
                entry = (waste + _sum_of(wastes, after ^ before), (*frames, frame))
                known = best[taken + 1].get(after)
                if known is None or entry < known:
                    best[taken + 1][after] = entry
    whole = [found[everything] for found in best if everything in found]
    return min(whole, key=lambda entry: (entry[0], len(entry[1])))[1]


def _sum_of(values: Sequence[int], mask: int) -> int:
    """The sum of the values whose bit is set."""
    total = 0
    while mask:
        lowest = mask & -mask
        total += values[lowest.bit_length() - 1]
        mask ^= lowest
    return total


def _greedy_waste(
    counts: Mapping[Size, int], ends: tuple[Size, Size], candidates: Iterable[Size], most: int
) -> int:
    """The waste of the two ends and of frames added one by one, each what then saves most."""
    areas = {size: min(prod(end) for end in ends if _holds(end, size)) for size in counts}
    for _ in range(most - len(set(ends))):
        areas = min(
            (
                {
                    size: min(area, prod(frame)) if _holds(frame, size) else area
                    for size, area in areas.items()
                }
                for frame in candidates
            ),
            key=lambda areas: sum(counts[size] * area for size, area in areas.items()),
        )
    return sum(counts[size] * (area - prod(size)) for size, area in areas.items())


def _candidates(sizes: Sequence[Size]) -> dict[Size, int]:
    """The frames that may be of use, smallest area first, and the bit mask of what each holds.

    They have a height and a width of the sizes; of those that hold the same, the smallest will do.
    """
    heights, widths = {h for h, _ in sizes}, {w for _, w in sizes}
    frames = [(height, width) for height in heights for width in widths]
    by_held: dict[int, Size] = {}
    for frame in sorted(frames, key=lambda frame: (prod(frame), frame)):
        held = sum(1 << n for n, size in enumerate(sizes) if _holds(frame, size))
        by_held.setdefault(held, frame)
    return {frame: held for held, frame in by_held.items() if held}


def _holds(frame: Size, size: Size) -> bool:
    return frame[0] >= size[0] and frame[1] >= size[1]
