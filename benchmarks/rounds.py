"""Times of several graphs taken in turn, in one run, so that a slow spell of the machine slows them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnx.parser
import torch
from numpy.typing import NDArray

from export.graph import OPSET
from export.runtime import onnxruntime as ort

Array = NDArray[Any]


class Graph:
    """An ONNX graph on the CPU. What it returns stays in ONNX Runtime's memory: no copy is timed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}

    def run(self, feed: Mapping[str, ort.OrtValue]) -> list[ort.OrtValue]:
        """The outputs for those of `feed` that the graph asks for."""
        wanted = {name: value for name, value in feed.items() if name in self._inputs}
        values: list[ort.OrtValue] = self._session.run_with_ort_values(None, wanted)
        return values


def graph_of(text: str) -> Graph:
    """The graph that `text` describes, in ONNX's textual syntax: (inputs) => (outputs) { nodes }."""
    model = onnx.helper.make_model(
        onnx.parser.parse_graph("benchmarked " + text.strip()),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    return Graph(model)


@dataclass(frozen=True)
class Times:
    """Seconds of the runs of a graph, one a round."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median."""
        return median(self.seconds)

    def ratio(self, base: "Times") -> float:
        """The median of the ratios to `base`, each within a round."""
        return median(a / b for a, b in zip(self.seconds, base.seconds, strict=True))


def take_turns(
    graphs: Mapping[str, Graph], feeds: Mapping[str, Mapping[str, ort.OrtValue]], rounds: int
) -> dict[str, Times]:
    """The times of every graph, each run once on its own feed in every round, in an order that turns.

    A run that is not timed comes first.
    """
    names = list(graphs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        graphs[name].run(feeds[name])
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = perf_counter()
            graphs[name].run(feeds[name])
            seconds[name].append(perf_counter() - began)
    return {name: Times(tuple(each)) for name, each in seconds.items()}


def as_feed(arrays: Mapping[str, Array | torch.Tensor]) -> dict[str, ort.OrtValue]:
    """The arrays in ONNX Runtime's memory, so that no run copies them."""
    return {
        name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values))
        for name, values in arrays.items()
    }
