"""An ONNX Runtime session of a file, on the device that was asked for, or one line that says why not."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.engine.providers import (
    CPU,
    Device,
    GpuOptions,
    explain,
    preload,
    provider_for,
    with_options,
)
from service.engine.runtime import ort
from service.errors import InvalidModel

log = logging.getLogger(__name__)

# A severity: what fails is raised, and said once, by us.
FATAL = 4

# What onnxruntime says of a graph that is sound but needs more than it has.
LACKS = re.compile(
    r"\S+ is not a registered function/op"
    r"|No Op registered for .*"
    r"|No opset import for domain .*"
    r"|Could not find an implementation for \S+"
    r"|Opset \d+ is under development"
    r"|Unsupported model IR version.*"
)


@dataclass(frozen=True)
class CpuOptions:
    """How ONNX Runtime uses the cores.

    Attributes:
        threads: of one run; 0 for all cores.
        spinning: whether threads that wait for work keep their core busy. It makes full batches
            faster on idle cores, and takes from the threads that decode where there are none.
        exact: whether int8 weights become uint8, whose kernels are exact on every CPU (kernels.py).
    """

    threads: int = 0
    spinning: bool = False
    exact: bool = False


def open_session(
    path: Path, device: Device, cpu: CpuOptions, gpu: GpuOptions
) -> ort.InferenceSession:
    """The session on `device`; auto is CUDA where ONNX Runtime has it and it loads, else the CPU.

    Raises:
        InvalidModel: not a model, or the device was asked for and cannot be had.
    """
    ort.set_default_logger_severity(FATAL)
    provider = provider_for(device, ort.get_available_providers())
    if provider == CPU:
        return _open(path, [CPU], cpu)
    preload()
    try:
        session, raised = _open(path, with_options(provider, gpu), cpu), None
    except InvalidModel as error:
        session, raised = None, error.detail
    if session is not None and provider in session.get_providers():
        return session
    why = explain(provider, raised)
    if device != "auto":
        raise InvalidModel(f"the device is to be {device}, but {provider} cannot be used: {why}")
    log.warning("%s cannot be used, running on the CPU: %s", provider, why)
    return session or _open(path, [CPU], cpu)


def _open(path: Path, providers: list[Any], cpu: CpuOptions) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = cpu.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(cpu.spinning)))
    options.add_session_config_entry("session.x64quantprecision", str(int(cpu.exact)))
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        # No fallback: a failing GPU must not turn into a silent CPU in the middle of a run.
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    # ONNX Runtime's errors have no common class of their own.
    except Exception as error:
        raise InvalidModel(f"{path}: {_refusal(str(error))}") from error


def _refusal(said: str) -> str:
    lacks = LACKS.search(said)
    if lacks is not None:
        return (
            f"the graph needs what ONNX Runtime {ort.__version__} lacks ({lacks[0].strip()}):"
            " expected a file that fpn-export wrote; export again, or install a newer onnxruntime"
        )
    reason = said.strip().splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
    return f"ONNX Runtime cannot load it: expected a file that fpn-export wrote; {reason}"
