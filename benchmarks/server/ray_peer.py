"""The model behind Ray Serve: `python -m benchmarks.server.ray_peer`.

As documented: one replica, whose batches have the defaults of `serve.batch`. Tuned: so many replicas, no batches.
"""

import signal

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.server.work import PeerSettings, Work, as_json


class Batched:
    """Photographs to detections, some at a time."""

    def __init__(self, settings: PeerSettings) -> None:
        self._work = Work(settings.model, settings.threads)

    @serve.batch
    async def found(self, photographs: list[bytes]) -> list[bytes]:
        """The answers' bodies."""
        frames = [self._work.frame(each) for each in photographs]
        return [as_json(each) for each in self._work.detected(frames)]

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        return Response(await self.found(await request.body()), media_type="application/json")


class Single:
    """A photograph to detections."""

    def __init__(self, settings: PeerSettings) -> None:
        self._work = Work(settings.model, settings.threads)

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        frame = self._work.frame(await request.body())
        return Response(as_json(self._work.detected([frame])[0]), media_type="application/json")


def main() -> None:
    """Serve until told to stop."""
    settings = PeerSettings.from_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": settings.port})
    if settings.tuned:
        deployment = serve.deployment(Single, num_replicas=settings.workers)
    else:
        deployment = serve.deployment(Batched)
    serve.run(deployment.bind(settings), blocking=True)


if __name__ == "__main__":
    main()
