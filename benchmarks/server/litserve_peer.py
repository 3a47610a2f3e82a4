"""The model behind LitServe: `python -m benchmarks.server.litserve_peer`.

As documented: a batch of up to 8 that is waited for 0.1 s, as in the documentation of LitAPI. Tuned: so many workers,
no batches, and its faster queue between processes.
"""

from typing import Any

import litserve
from fastapi import Request

from benchmarks.server.work import PeerSettings, Work, as_dict
from service.detections import Detected
from service.pictures.framing import Frame

MAX_BATCH, WAIT_S = 8, 0.1


class Detect(litserve.LitAPI):
    """A photograph in a form to detections."""

    def setup(self, device: str) -> None:
        """Load the model."""
        settings = PeerSettings.from_environment()
        self._work = Work(settings.model, settings.threads)

    def decode_request(self, request: Request) -> Frame:
        """The frame of the photograph."""
        # LitServe makes the form of it, though it asks for this annotation.
        return self._work.frame(request["image"].file.read())

    def batch(self, inputs: list[Frame]) -> list[Frame]:
        """Frames as they are: sizes differ."""
        return inputs

    def predict(self, x: Frame | list[Frame]) -> Detected | list[Detected]:
        """What is found in a frame, or in each of a batch."""
        return self._work.detected(x) if isinstance(x, list) else self._work.detected([x])[0]

    def unbatch(self, output: list[Detected]) -> list[Detected]:
        """One for each frame already."""
        return output

    def encode_response(self, output: Detected) -> dict[str, Any]:
        """The answer, which LitServe writes as JSON."""
        return as_dict(output)


def main() -> None:
    """Serve until told to stop."""
    settings = PeerSettings.from_environment()
    if settings.tuned:
        server = litserve.LitServer(
            Detect(), accelerator="cpu", workers_per_device=settings.workers, fast_queue=True
        )
    else:
        api = Detect(max_batch_size=MAX_BATCH, batch_timeout=WAIT_S)
        server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=settings.port, generate_client_file=False)


if __name__ == "__main__":
    main()
