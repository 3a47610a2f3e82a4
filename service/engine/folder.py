"""One model in several precisions, in a folder: which of its files is for the device.

On a CPU that is int8, on a GPU float16, and float32 where that one is not there or was not judged. The manifests
decide, not the names of the files.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from service.artifact.manifest import Manifest, read_manifest
from service.engine.providers import (
    CPU,
    DEVICES,
    LIBRARIES,
    Device,
    loader_error,
    preload,
    provider_for,
)
from service.engine.runtime import ort
from service.errors import InvalidModel

log = logging.getLogger(__name__)

PREFERRED = {CPU: ("int8", "float32")}
ON_A_GPU = ("float16", "float32")
FATAL = 4


def model_file(path: Path, device: Device) -> Path:
    """`path` itself where it is no folder, else the file in it that `device` computes best.

    Raises:
        InvalidModel: the folder has no model for the device, two of one precision, or models of different classes.
    """
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.onnx"))
    if not files:
        raise InvalidModel(f"{path}: no *.onnx in this folder; expected models of fpn-export")
    provider = _provider_of(device)
    chosen = best_of({file: _manifest_of(file) for file in files}, provider)
    fields = {"file": str(chosen), "of": len(files), "device": DEVICES[provider]}
    log.info("model chosen", extra={"fields": fields})
    return chosen


def best_of(manifests: Mapping[Path, Manifest], provider: str) -> Path:
    """The file of `manifests` that `provider` computes best, of those whose precision was judged.

    Raises:
        InvalidModel: as `model_file` does.
    """
    folder = next(iter(manifests)).parent
    if len({manifest.classes for manifest in manifests.values()}) > 1:
        raise InvalidModel(
            f"{folder}: its models have different classes; expected one model in several precisions:"
            " name the file in FPN_MODEL"
        )
    preferred = PREFERRED.get(provider, ON_A_GPU)
    for precision in preferred:
        fit = [
            file
            for file, manifest in manifests.items()
            if manifest.precision == precision and manifest.gate.kind != "off"
        ]
        if len(fit) > 1:
            listed = ", ".join(file.name for file in fit)
            raise InvalidModel(
                f"{folder}: expected one {precision} model, got {listed}: name the file in FPN_MODEL"
            )
        if fit:
            return fit[0]
    found = ", ".join(f"{file.name} ({each.precision})" for file, each in manifests.items())
    raise InvalidModel(
        f"{folder}: expected a model in {' or '.join(preferred)} that export judged, got {found}"
    )


def _provider_of(device: Device) -> str:
    """The provider that will run the model, before any was loaded: auto falls back to the CPU."""
    provider = provider_for(device, ort.get_available_providers())
    if device == "auto" and provider != CPU:
        preload()
        if loader_error(Path(ort.__file__).parent / "capi" / LIBRARIES[provider]):
            return CPU
    return provider


def _manifest_of(file: Path) -> Manifest:
    """The manifest of a file, which is loaded for it as cheaply as ONNX Runtime can."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    try:
        session = ort.InferenceSession(file, options, providers=[CPU])
        text = session.get_modelmeta().custom_metadata_map["manifest"]
        return read_manifest(text)
    except InvalidModel as error:
        raise InvalidModel(f"{file}: {error.detail}") from error
    # ONNX Runtime's errors have no common class of their own.
    except Exception as error:
        said = str(error).strip().splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
        raise InvalidModel(
            f"{file}: expected a file that fpn-export wrote; ONNX Runtime says: {said}"
        ) from error
