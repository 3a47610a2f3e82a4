"""The server's application as a deployment of Ray Serve: a device each, as many replicas as the queue's age asks for.

    serve run deploy.ray.serve:application device=cuda gpus=1 max_replicas=8

The same engine, batcher and routes as behind uvicorn; what is Ray's are the sockets, so the limits on connections and
headers are its own. A replica is started anew when its health check fails.
"""

import asyncio
from typing import Any

from fastapi import FastAPI
from ray import serve

from deploy.ray.scaling import AGE, by_queue_age
from service.app import create_app
from service.errors import Unavailable
from service.settings import Settings

OWN = ("gpus", "cpus", "min_replicas", "max_replicas")
QUEUE_AGE = "fpn_queue_oldest_age_seconds"


@serve.ingress()
class Detector:
    """A replica."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings` are those of the server by their names: FPN_QUEUE_IMAGES is queue_images."""
        self._settings = Settings(**settings)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, as `fpn-serve` has it."""
        self._served = create_app(self._settings)
        return self._served

    async def check_health(self) -> None:
        """Returns once it is ready, which Ray waits for before it sends requests; raises when it is not any more."""
        warming: asyncio.Task[None] = self._served.state.warming
        await asyncio.wait([warming])
        await warming
        reason: Unavailable | None = self._served.state.detector.readiness.not_ready
        if reason is not None:
            raise reason

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `by_queue_age` looks at."""
        age = self._served.state.metrics.registry.get_sample_value(QUEUE_AGE)
        return {AGE: age or 0.0}


def application(arguments: dict[str, str]) -> serve.Application:
    """The application for `serve run` and KubeRay.

    Args:
        arguments: gpus, cpus (of a replica), min_replicas, max_replicas; all others are settings of the server.
    """
    settings = {name: value for name, value in arguments.items() if name not in OWN}
    least, most = int(arguments.get("min_replicas", 1)), int(arguments.get("max_replicas", 1))
    deployment = serve.deployment(
        Detector,
        name="detector",
        ray_actor_options={
            "num_gpus": float(arguments.get("gpus", 0)),
            "num_cpus": float(arguments.get("cpus", 1)),
        },
        # The server itself refuses what it has no room for, with a time to come again.
        max_ongoing_requests=1000,
        health_check_period_s=5,
        health_check_timeout_s=60,
        graceful_shutdown_timeout_s=45,
        autoscaling_config={
            "min_replicas": least,
            "initial_replicas": least,
            "max_replicas": most,
            "upscale_delay_s": 5,
            "downscale_delay_s": 300,
            "policy": {"policy_function": by_queue_age},
        },
    )
    return deployment.bind(settings)
