"""The work that every peer does for a photograph: decode, resize, frame, run, detections.

It is the service's own code around a plain ONNX Runtime session, so that all servers do the same arithmetic and differ
in nothing but how they serve it. The photographs of a batch run frame by frame size, as a batch has but one.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from service.artifact.manifest import Manifest, read_manifest
from service.artifact.tensors import OUTPUTS, Outputs
from service.detections import Detected, Wanted, detected, score_thresholds
from service.engine.kernels import kernels_for
from service.engine.providers import CPU
from service.engine.runtime import ort
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Frame, Framing, Size, load_frame
from service.settings import Settings

PREFIX = "PEER_"
JSON = TypeAdapter(Detected)


@dataclass(frozen=True)
class PeerSettings:
    """How a peer is started, handed over in its environment: its processes read it, too.

    Attributes:
        model: an ONNX file.
        port: of this host.
        workers: processes that run the model.
        threads: of each one's session; 0 leaves it to ONNX Runtime.
        tuned: whether these say how, not the peer's documentation.
    """

    model: Path
    port: int
    workers: int = 1
    threads: int = 0
    tuned: bool = False

    def as_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads."""
        return {PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_environment(cls) -> "PeerSettings":
        """The settings that this process was started with."""
        said = partial(os.environ.__getitem__)
        return cls(
            model=Path(said(PREFIX + "MODEL")),
            port=int(said(PREFIX + "PORT")),
            workers=int(said(PREFIX + "WORKERS")),
            threads=int(said(PREFIX + "THREADS")),
            tuned=said(PREFIX + "TUNED") == str(True),
        )


class Work:
    """A loaded model. `frame`, `answer` and `run` may be called from several threads."""

    def __init__(self, model: Path, threads: int = 0) -> None:
        """Loads `model` with so many threads; 0 leaves it to ONNX Runtime."""
        prepare_pillow()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(model, options, providers=[CPU])
        self.manifest: Manifest = read_manifest(
            self._session.get_modelmeta().custom_metadata_map["manifest"]
        )
        if kernels_for(self.manifest, CPU) == "exact":
            # As our own server does: the fast ones would be faster here, and wrong.
            options.add_session_config_entry("session.x64quantprecision", "1")
            self._session = ort.InferenceSession(model, options, providers=[CPU])
        most = Settings.model_fields["max_pixels"].default
        # What a request to our server asks for with `?proposals=0`.
        self._wanted = Wanted(score_thresholds(None, self.manifest), None, None, 0, ())
        self._framing = Framing(self.manifest.resize, self.manifest.buckets, most)

    def frame(self, photograph: bytes) -> Frame:
        """The photograph as the model takes it."""
        return load_frame(photograph, self._framing)

    def run(self, frames: Sequence[Frame]) -> Outputs:
        """The outputs for frames of one size."""
        inputs = {
            "images": np.stack([frame.pixels for frame in frames]),
            "sizes": np.array([frame.content for frame in frames], np.int64),
            "regions": np.zeros((len(frames), 0, 4), np.float32),
        }
        return Outputs(*self._session.run(list(OUTPUTS), inputs))

    def detected(self, frames: Sequence[Frame]) -> list[Detected]:
        """What is found in each frame; they may have several sizes."""
        of_size: dict[Size, list[int]] = {}
        for index, frame in enumerate(frames):
            of_size.setdefault(frame.bucket, []).append(index)
        found: dict[int, Detected] = {}
        for indices in of_size.values():
            outputs = self.run([frames[index] for index in indices])
            for place, index in enumerate(indices):
                found[index] = detected(outputs[place], frames[index], self.manifest, self._wanted)
        return [found[index] for index in range(len(frames))]


def as_json(found: Detected) -> bytes:
    """The answer's body."""
    return JSON.dump_json(found, exclude_none=True)


def as_dict(found: Detected) -> dict[str, Any]:
    """The answer, for servers that write JSON themselves."""
    return dict(JSON.dump_python(found, exclude_none=True))
