"""A model file that obeys the artifact's contract and can be computed by hand.

Per image, from its content (h, w) and its top-left pixel (red, green, blue):

    detection 0    box (w/4, h/2, 3w/4, h), score red/255, class green // 86, level P3
    detection 1    box (0, 0, w, h), score red/510, class 0, level P5
    proposals      3, 2, 1, 0 and 3 of P2..P6: box (0, 0, w, h) * (1, 1/2, 1/4), score red/255 * (1, 1/2, 1/4)
    regions        as they are, score red/255, class green // 86, level P4; behind detection 0 is proposal 1 of P3,
                   behind detection 1 proposal 2 of P6
    blue is 13     the run fails, as it would on an image that the model cannot take
    blue is 14     the run does not end, as it would on a device that hangs
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.parser

GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
tiny (uint8[N, 3, H, W] images, int64[N, 2] sizes, float[N, E, 4] regions) => (
    float[N, 4, 4] boxes, float[N, 4] scores, int64[N, 4] labels, int64[N, 4] levels, int64[N] counts,
    int64[N, 4, 2] proposals,
    float[N, 5, 3, 4] proposal_boxes, float[N, 5, 3] proposal_scores, int64[N, 5] proposal_counts,
    float[N, E, 4] region_boxes, float[N, E] region_scores, int64[N, E] region_labels, int64[N, E] region_levels
) <
    int64[4] whwh = {1, 0, 1, 0}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2},
    int64[1] thirteen = {13}, int64[1] fourteen = {14}, int64 ages = {1000000000000000},
    int64 none = {0}, bool always = {1}, int64[1] far = {1000}, int64[1] third = {86},
    float[1] white = {255.0}, float[1] nothing = {0.0},
    int64[2] axes_1_2 = {1, 2}, int64[2] axes_2_3 = {2, 3}, int64[2] start = {0, 0}, int64[2] end = {1, 1},
    float[1, 4, 4] box_parts = {0.25, 0.5, 0.75, 1.0, 0.0, 0.0, 1.0, 1.0, 0, 0, 0, 0, 0, 0, 0, 0},
    float[1, 4] score_parts = {1.0, 0.5, 0.0, 0.0},
    int64[1, 4] label_parts = {1, 0, 0, 0}, int64[1, 4] level_parts = {3, 5, 0, 0},
    float[1, 5, 3, 4] proposal_parts = {PROPOSAL_PARTS},
    float[1, 5, 3] proposal_score_parts = {PROPOSAL_SCORE_PARTS},
    int64[1, 4, 2] place_parts = {1, 1, 4, 2, 0, 0, 0, 0}, int64[1] four = {4},
    int64[1, 5] proposal_count_parts = {3, 2, 1, 0, 3}
> {
    corner = Slice (images, start, end, axes_2_3)
    corner_64 = Cast <to = 7> (corner)
    pixel = Squeeze (corner_64, axes_2_3)
    red = Gather <axis = 1> (pixel, zero)
    green = Gather <axis = 1> (pixel, one)
    blue = Gather <axis = 1> (pixel, two)
    is_poison = Equal (blue, thirteen)
    poison = Cast <to = 7> (is_poison)
    out_of_bounds = Mul (poison, far)
    harmless = Gather <axis = 0> (nothing, out_of_bounds)
    red_float = Cast <to = 1> (red)
    bright = Div (red_float, white)
    score = Add (bright, harmless)
    sizes_float = Cast <to = 1> (sizes)
    corners = Gather <axis = 1> (sizes_float, whwh)
    corners_3 = Unsqueeze (corners, one)
    boxes = Mul (corners_3, box_parts)
    scores = Mul (score, score_parts)
    label = Div (green, third)
    labels = Mul (label, label_parts)
    zeros = Mul (red, zero)
    levels = Add (zeros, level_parts)
    twos = Add (zeros, two)
    is_endless = Equal (blue, fourteen)
    endless = Cast <to = 7> (is_endless)
    any_endless = ReduceMax <keepdims = 0> (endless)
    rounds = Mul (any_endless, ages)
    after = Loop <body = spin (int64 round, bool go, int64 x) => (bool again, int64 y) {
        again = Identity (go)
        y = Identity (x)
    }> (rounds, always, none)
    two_each = Squeeze (twos, one)
    counts = Add (two_each, after)
    corners_4 = Unsqueeze (corners, axes_1_2)
    proposal_boxes = Mul (corners_4, proposal_parts)
    score_3 = Unsqueeze (score, one)
    proposal_scores = Mul (score_3, proposal_score_parts)
    proposal_counts = Add (zeros, proposal_count_parts)
    zeros_3 = Unsqueeze (zeros, one)
    proposals = Add (zeros_3, place_parts)
    region_boxes = Identity (regions)
    region_nothings = Mul (regions, nothing)
    region_zeros = ReduceSum <keepdims = 0> (region_nothings, two)
    region_scores = Add (region_zeros, score)
    region_zeros_64 = Cast <to = 7> (region_zeros)
    region_labels = Add (region_zeros_64, label)
    region_levels = Add (region_zeros_64, four)
}
"""

REDS = """
    red_8 = Cast <to = 2> (red)
    reds = Concat <axis = 1> (red_8, red_8, red_8, red_8)"""
SUM_OF_PRODUCTS = f"""{REDS}
    sum = MatMulInteger (reds, weights)
    sum_float = Cast <to = 1> (sum)
    bright = Div (sum_float, whole)"""
SHARED_WEIGHTS = f"""{REDS}
    reds_float = DequantizeLinear (reds, one_float, none_8)
    weights_1 = DequantizeLinear (weights, one_float, middle)
    sum_1 = MatMul (reds_float, weights_1)
    sum_1_q = QuantizeLinear (sum_1, step, none_8)
    sum_1_float = DequantizeLinear (sum_1_q, step, none_8)
    weights_2 = DequantizeLinear (weights, one_float, middle)
    sum_2 = MatMul (reds_float, weights_2)
    sum_2_q = QuantizeLinear (sum_2, step, none_8)
    sum_2_float = DequantizeLinear (sum_2_q, step, none_8)
    sum_float = Max (sum_1_float, sum_2_float)
    bright = Div (sum_float, whole)"""

MANIFEST: dict[str, Any] = {
    "schema": 3,
    "name": "tiny",
    "version": "0123456789ab",
    "classes": ["cat", "dog", "bird"],
    "category_ids": [17, 18, 16],
    "levels": [{"name": f"P{n}", "stride": 2**n} for n in range(2, 7)],
    "resize": {
        "short_side": 32,
        "max_side": 80,
        "rounding": "round",
        "interpolation": "pillow-bilinear",
        "decoding": "whole",
    },
    "buckets": [[32, 64], [64, 32], [32, 96], [96, 32]],
    "precision": "float32",
    "weight_bits": None,
    "gate": {"kind": "parity", "report": {}, "float_layers": []},
    "opset": 18,
    "suppression": {"score": 0.05, "nms": 0.5, "proposal_nms": 0.7},
    "limits": {"max_side": 4096, "max_batch": 2048, "max_regions": 1000},
    "max_detections": 4,
    "max_proposals": 3,
    "weights": {
        "license": "none",
        "data": "none",
        "recipe": "none",
        "source": "none",
        "date": "2026-01-31",
        "code": "0.0.0",
        "stored": "float32",
    },
    "thresholds": None,
    "golden": None,
    "reference": None,
    "accuracy": {},
    "parity": {},
}


def write_tiny_model(path: Path, manifest: dict[str, Any] | None = None) -> Path:
    """`path`, with the model of this module written to it; `manifest` in place of its own."""
    return _write(onnx.parser.parse_model(_graph()), path, manifest or MANIFEST)


def write_tiny_int8_model(path: Path, weight: int, weight_bits: int) -> Path:
    """`path`, with the model of this module, whose scores are sums of int8 products: as they should be, where exact.

    Every product is of `weight`; `weight_bits` is what the manifest says.
    """
    return _write_int8(path, SUM_OF_PRODUCTS, weight, weight_bits)


def write_unconvertible_int8_model(path: Path) -> Path:
    """`path`, with weights of 8 bits that two nodes dequantise: ONNX Runtime cannot make them uint8."""
    return _write_int8(path, SHARED_WEIGHTS, 127, 8)


def _write_int8(path: Path, sum_of_products: str, weight: int, weight_bits: int) -> Path:
    graph = _graph().replace("bright = Div (red_float, white)", sum_of_products)
    constants = (
        f"float one_float = {{1}}, uint8 none_8 = {{0}}, int8 middle = {{0}}, float step = {{8000}},"
        f" float[1] whole = {{{4 * 255 * weight}}}, int8[4, 1] weights = {{{_list([weight] * 4)}}},"
    )
    model = onnx.parser.parse_model(graph.replace(") <\n", f") <\n    {constants}\n", 1))
    return _write(model, path, MANIFEST | {"precision": "int8", "weight_bits": weight_bits})


def _graph() -> str:
    halves = [1.0, 0.5, 0.25] * 5
    boxes = [value for half in halves for value in (0.0, 0.0, half, half)]
    graph = GRAPH.replace("PROPOSAL_PARTS", _list(boxes))
    return graph.replace("PROPOSAL_SCORE_PARTS", _list(halves))


def _write(model: onnx.ModelProto, path: Path, manifest: dict[str, Any]) -> Path:
    onnx.helper.set_model_props(model, {"manifest": json.dumps(manifest)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _list(values: Sequence[float]) -> str:
    return ", ".join(str(value) for value in values)
