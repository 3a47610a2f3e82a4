"""Non-maximum suppression of images x levels: one NonMaxSuppression node, or a fixed point on the IoU matrix.

    python -m benchmarks.suppression [--batches 1 2 4 8] [--counts 300 1000]

The fixed point keeps a box unless a better box that is itself kept overlaps it too much; from all boxes
kept it is reached after as many passes as the longest chain of boxes that suppress each other. It is made of plain
operators, so that it runs wherever matrices do. Both take boxes best first and give the same boxes, which is checked.

Peak memory is what a process of its own needs to run the graph once, inputs not counted.

Legend
    B   rows: images x levels       K   boxes a row
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from benchmarks.rounds import Array, Graph, Times, as_feed, take_turns
from benchmarks.scenes import SCENES, Scene, synthetic_boxes
from export.graph import OPSET

LEVELS = 5
FRAME = (800, 1088)

NODE = """
(float[B, K, 4] boxes, float[B, K] scores) => (bool[B, K] kept) {
    one_class = Unsqueeze (scores, class_axis)
    most = Shape <start = 1, end = 2> (scores)
    survivors = NonMaxSuppression (boxes, one_class, most, threshold)
    row_and_box = Constant <value_ints = [0, 2]> ()
    pairs = Gather <axis = 1> (survivors, row_and_box)
    shape = Shape (scores)
    zero = Constant <value_float = 0.0> ()
    one = Constant <value_float = 1.0> ()
    number = Shape <start = 0, end = 1> (pairs)
    nothing = Expand (zero, shape)
    ones = Expand (one, number)
    marks = ScatterND (nothing, pairs, ones)
    kept = Cast <to = 9> (marks)
}
"""

# beats[i, j]: i is better than j and overlaps it too much. A pass: j stays unless a box that stays beats it.
FIXED_POINT = """
(float[B, K, 4] boxes, float[B, K] scores) => (bool[B, K] kept) {
    x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (boxes)
    x1t = Transpose <perm = [0, 2, 1]> (x1)
    y1t = Transpose <perm = [0, 2, 1]> (y1)
    x2t = Transpose <perm = [0, 2, 1]> (x2)
    y2t = Transpose <perm = [0, 2, 1]> (y2)
    left = Max (x1, x1t)
    top = Max (y1, y1t)
    right = Min (x2, x2t)
    bottom = Min (y2, y2t)
    zero = Constant <value_float = 0.0> ()
    wide = Sub (right, left)
    high = Sub (bottom, top)
    width = Max (wide, zero)
    height = Max (high, zero)
    overlap = Mul (width, height)
    w = Sub (x2, x1)
    h = Sub (y2, y1)
    area = Mul (w, h)
    areat = Transpose <perm = [0, 2, 1]> (area)
    both = Add (area, areat)
    union = Sub (both, overlap)
    iou = Div (overlap, union)
    above = Greater (iou, threshold)
    numbers = Cast <to = 1> (above)
    first = Constant <value_int = 1> ()
    beats = Trilu <upper = 1> (numbers, first)
    flat = Unsqueeze (scores, class_axis)
    flat_shape = Shape (flat)
    one = Constant <value_float = 1.0> ()
    everything = Expand (one, flat_shape)
    yes = Constant <value = bool {1}> ()
    passes = Shape <start = 1, end = 2> (scores)
    most = Squeeze (passes)
    final = Loop (most, yes, everything) <body = again
        (int64 i, bool go, float[B, one_row, K] keep) => (bool changed, float[B, one_row, K] next) {
            beaten = MatMul (keep, beats)
            stays = Equal (beaten, zero)
            next = Cast <to = 1> (stays)
            change = Sub (next, keep)
            size = Abs (change)
            largest = ReduceMax <keepdims = 0> (size)
            changed = Greater (largest, zero)
        }>
    row = Squeeze (final, class_axis)
    kept = Cast <to = 9> (row)
}
"""
GRAPHS = {"NonMaxSuppression node": NODE, "IoU matrix, fixed point": FIXED_POINT}


def build(text: str, iou_threshold: float) -> onnx.ModelProto:
    """The checked model of a graph, whose `threshold` is `iou_threshold`; NonMaxSuppression wants scores [B, 1, K]."""
    graph = onnx.parser.parse_graph("suppression " + text.strip())
    constants: dict[str, Array] = {
        "threshold": np.array(iou_threshold, np.float32),
        "class_axis": np.array([1], np.int64),
    }
    for name, values in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def rows(scene: Scene, images: int, count: int) -> dict[str, Array]:
    """Boxes [images * levels, count, 4] and their scores, best first; every level has boxes of all sizes."""
    boxes = synthetic_boxes(scene, images * LEVELS, count, FRAME)
    scores = np.linspace(1, 0, count, dtype=np.float32)
    return {"boxes": boxes.numpy(), "scores": np.tile(scores, (images * LEVELS, 1))}


def differing(graphs: dict[str, Graph], boxes: dict[str, Array]) -> tuple[int, int]:
    """How many boxes the graphs disagree on, and how many the first keeps."""
    first, *others = (each.run(as_feed(boxes))[0].numpy() for each in graphs.values())
    return sum(int((first != other).sum()) for other in others), int(first.sum())


def peak_mib(text: str, iou_threshold: float, images: int, count: int) -> float:
    """MiB that a process of its own needs to run the graph."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_grown_mib, text, iou_threshold, images, count).result()


def _grown_mib(text: str, iou_threshold: float, images: int, count: int) -> float:
    feed = as_feed(rows("crowded", images, count))
    graph = Graph(build(text, iou_threshold))
    before = _memory_mib("VmRSS")
    graph.run(feed)
    return _memory_mib("VmHWM") - before


def _memory_mib(field: str) -> float:
    """Of this process, from Linux: VmRSS what it has, VmHWM the most that it had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith(field))
    return int(kib) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if the graphs disagree."""
    parser = argparse.ArgumentParser("python -m benchmarks.suppression", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 1000], metavar="K")
    parser.add_argument("--iou", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    graphs = {name: Graph(build(text, options.iou)) for name, text in GRAPHS.items()}
    print(f"{LEVELS} levels, IoU {options.iou}, {options.rounds} rounds\n")
    print("| scene | batch | boxes a row | kept | differing | graph | median, ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    disagreements = 0
    for scene in SCENES:
        for count in options.counts:
            for images in options.batches:
                boxes = rows(scene, images, count)
                differ, kept = differing(graphs, boxes)
                disagreements += differ
                feed = as_feed(boxes)
                times = take_turns(graphs, dict.fromkeys(graphs, feed), options.rounds)
                _print_rows(f"| {scene} | {images} | {count} | {kept} | {differ} |", times)
    print("\n| batch | boxes a row | graph | peak, MiB |\n|---|---|---|---|")
    most = max(options.counts)
    for images in options.batches:
        for name, text in GRAPHS.items():
            mib = peak_mib(text, options.iou, images, most)
            print(f"| {images} | {most} | {name} | {mib:.0f} |", flush=True)
    return int(disagreements > 0)


def _print_rows(case: str, times: dict[str, Times]) -> None:
    base = next(iter(times.values()))
    for name, each in times.items():
        print(f"{case} {name} | {1000 * each.median_s:.1f} | {each.ratio(base):.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
