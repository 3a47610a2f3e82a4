"""Where ONNX Runtime's time goes, from its own profile: the stages of a detector, by operator.

An operator's time is put where its work belongs, and to nothing else: what surrounds a convolution (changes of layout,
quantisation, additions, pooling) counts as the rest, so that the rest is not made to look small.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
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

_KERNEL = "_kernel_time"


def stage_of(operator: str) -> str:
    """The one of STAGES that an operator, as ONNX Runtime names it, belongs to."""
    return _STAGE_OF.get(operator, "rest")


def seconds_by_stage(events: Iterable[Mapping[str, Any]], runs: int) -> dict[str, float]:
    """Mean seconds a run of each of STAGES, over the last `runs` of a profile.

    Args:
        events: of the profile of 1 + `runs` runs; the first run is left out.
        runs: counted.
    """
    durations = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            durations[event["name"], event["args"]["op_name"]].append(event["dur"])
    seconds = dict.fromkeys(STAGES, 0.0)
    for (_, operator), taken in durations.items():
        a_run = len(taken) // (1 + runs)  # a node in a loop, or of a subgraph, runs more than once
        seconds[stage_of(operator)] += sum(taken[a_run:]) / 1e6 / runs
    return seconds


def share_of_rest(seconds: Mapping[str, float]) -> float:
    """What share of the time is neither convolution nor fully connected layer."""
    return 1 - (seconds["convolution"] + seconds["fully connected"]) / sum(seconds.values())
