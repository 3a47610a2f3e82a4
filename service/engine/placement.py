"""Where the nodes of a graph run, and the refusal of a GPU that leaves its work to the CPU.

ONNX Runtime gives a node whose provider has no kernel for its operator and version to the next one,
without a word: RoiAlign of opset 16 ran on the CPU of GPU hosts for years
(microsoft/onnxruntime#21990). The answers stay right, and every run waits for copies.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from service.engine.providers import CPU
from service.engine.runtime import ort
from service.errors import InvalidModel

# provider -> operator -> how many nodes
Placement = dict[str, dict[str, int]]

# Where a detector spends its time. The rest is arithmetic on shapes and a few thousand boxes; of it
# ONNX Runtime's CUDA provider itself leaves some to the CPU.
HEAVY = frozenset(
    {
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "NonMaxSuppression",
        "QLinearConv",
        "QLinearMatMul",
        "Resize",
        "RoiAlign",
        "TopK",
    }
)


def read_placement(session: ort.InferenceSession) -> Placement:
    """Where the nodes of a session that records it run, control flow's bodies included."""
    return count_nodes(
        (subgraph.ep_name, [node.op_type for node in subgraph.get_nodes()])
        for subgraph in session.get_provider_graph_assignment_info()
    )


def count_nodes(subgraphs: Iterable[tuple[str, Iterable[str]]]) -> Placement:
    """The placement that `subgraphs`, (provider, operators) each, add up to; sorted by name."""
    counts: dict[str, Counter[str]] = {}
    for provider, operators in subgraphs:
        counts.setdefault(provider, Counter()).update(operators)
    return {
        provider: dict(sorted(operators.items())) for provider, operators in sorted(counts.items())
    }


def check_placement(placement: Mapping[str, Mapping[str, int]], provider: str) -> None:
    """Raises InvalidModel when `provider` is not the CPU's, and the CPU has heavy nodes."""
    if provider == CPU:
        return
    strays = {op: n for op, n in placement.get(CPU, {}).items() if op in HEAVY}
    if strays:
        listed = ", ".join(f"{op} x {n}" for op, n in strays.items())
        raise InvalidModel(
            f"{provider} leaves work to the CPU that it is there for: {listed}; ONNX Runtime"
            f" {ort.__version__} has no kernel for them there: export again with the opset that"
            " fpn-export writes, or set FPN_DEVICE=cpu"
        )
