"""The model behind mosec: `python -m benchmarks.server.mosec_peer`.

As documented: the stages, workers and batches of its own example of a picture model (examples/resnet50_msgpack). Tuned:
one stage of so many workers, without batches, so that a photograph passes between processes once.
"""

from mosec import Server, Worker

from benchmarks.server.work import PeerSettings, Work, as_json
from service.detections import Detected
from service.pictures.framing import Frame

# The example's.
DECODERS, RUNNERS, MAX_BATCH = 4, 2, 16


class Decode(Worker):
    """Bytes to a frame."""

    def __init__(self) -> None:
        self._work = Work(PeerSettings.from_environment().model, threads=1)

    def deserialize(self, data: bytes) -> bytes:
        """The photograph, which is the body."""
        return data

    def forward(self, data: bytes) -> Frame:
        """Its frame."""
        return self._work.frame(data)


class Run(Worker):
    """Frames to detections."""

    def __init__(self) -> None:
        self._work = Work(PeerSettings.from_environment().model)

    def forward(self, data: list[Frame]) -> list[Detected]:
        """What is found in each frame of a batch."""
        return self._work.detected(data)


class Answer(Worker):
    """Detections to JSON."""

    def forward(self, data: Detected) -> bytes:
        """The answer's body."""
        return as_json(data)

    def serialize(self, data: bytes) -> bytes:
        """It is what is sent."""
        return data


class Everything(Worker):
    """Bytes to JSON."""

    def __init__(self) -> None:
        settings = PeerSettings.from_environment()
        self._work = Work(settings.model, settings.threads)

    def deserialize(self, data: bytes) -> bytes:
        """The photograph, which is the body."""
        return data

    def forward(self, data: bytes) -> bytes:
        """The answer's body."""
        return as_json(self._work.detected([self._work.frame(data)])[0])

    def serialize(self, data: bytes) -> bytes:
        """It is what is sent."""
        return data


def main() -> None:
    """Serve until told to stop."""
    settings = PeerSettings.from_environment()
    server = Server()
    if settings.tuned:
        server.append_worker(Everything, num=settings.workers)
    else:
        server.append_worker(Decode, num=DECODERS)
        server.append_worker(Run, num=RUNNERS, max_batch_size=MAX_BATCH)
        server.append_worker(Answer)
    server.run()


if __name__ == "__main__":
    main()
