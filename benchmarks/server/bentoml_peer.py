"""The model behind BentoML: `python -m bentoml serve benchmarks.server.bentoml_peer:Detect`.

As documented: one worker with adaptive batching, whose sizes are its own defaults. Tuned: so many workers, no batches.
"""

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from benchmarks.server.work import PeerSettings, Work, as_dict

SETTINGS = PeerSettings.from_environment()
Photograph = Annotated[Path, ContentType("image/jpeg")]


@bentoml.service(workers=SETTINGS.workers)
class Detect:
    """A photograph to detections."""

    def __init__(self) -> None:
        self._work = Work(SETTINGS.model, SETTINGS.threads)

    if SETTINGS.tuned:

        @bentoml.api
        def detect(self, images: Photograph) -> dict[str, Any]:
            """What is found in a photograph."""
            return self._found([images])[0]

    else:

        @bentoml.api(batchable=True)
        def detect(self, images: list[Photograph]) -> list[dict[str, Any]]:
            """What is found in each photograph of a batch."""
            return self._found(images)

    def _found(self, photographs: list[Path]) -> list[dict[str, Any]]:
        frames = [self._work.frame(each.read_bytes()) for each in photographs]
        return [as_dict(each) for each in self._work.detected(frames)]
