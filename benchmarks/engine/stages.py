"""Where ONNX Runtime's time goes, from its own profile: the stages of a detector, by operator.

An operator's time is put where its work belongs, and to nothing else: what surrounds a convolution (changes of layout,
quantisation, additions, pooling) counts as the rest, so that the rest is not made to look small.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

STAGES = ("convolution", "fully connected", "RoIAlign", "NMS", "rest")

# ONNX's operators and what ONNX Runtime fuses or quantises them to.
_STAGE_OF = {
    **dict.fromkeys(
        ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"), "convolution"
    ),
    **dict.fromkeys(
        (
            "Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger",
            "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
        ),
        "fully connected",
    ),
    "RoiAlign": "RoIAlign",
    "NonMaxSuppression": "NMS",
}  # fmt: skip

# ONNX Runtime asks for memory in the first run of a shape, and asks again, for all of it at once, in the second.
WARM_UPS = 2

_KERNEL = "_kernel_time"


def stage_of(operator: str) -> str:
    """The one of STAGES that an operator, as ONNX Runtime names it, belongs to."""
    return _STAGE_OF.get(operator, "rest")


def seconds_by_stage(events: Iterable[Mapping[str, Any]], runs: int) -> dict[str, float]:
    """Median seconds a run of each of STAGES, over the last `runs` of a profile.

    Args:
        events: of the profile of WARM_UPS + `runs` runs; the first are left out.
        runs: counted.
    """
    durations = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            durations[event["name"], event["args"]["op_name"]].append(event["dur"])
    by_run = {stage: [0.0] * runs for stage in STAGES}
    for (_, operator), taken in durations.items():
        # a node in a loop, or of a subgraph, runs more than once
        each = len(taken) // (WARM_UPS + runs)
        counted = taken[WARM_UPS * each :]
        for run in range(runs):
            microseconds = sum(counted[run * each : (run + 1) * each])
            by_run[stage_of(operator)][run] += microseconds / 1e6
    return {stage: median(seconds) for stage, seconds in by_run.items()}


def share_of_rest(seconds: Mapping[str, float]) -> float:
    """What share of the time is neither convolution nor fully connected layer."""
    return 1 - (seconds["convolution"] + seconds["fully connected"]) / sum(seconds.values())
