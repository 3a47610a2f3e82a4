r"""An ML backend for Label Studio that asks fpn-serve: predictions for tasks, so that people only correct.

    FPN_URL=http://localhost:8000 LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... \
        uvicorn deploy.adaptors.label_studio:app --port 9090

Label Studio asks GET /health, POST /setup and POST /predict. A task names its photograph by an address; it is fetched
from LABEL_STUDIO_URL alone, whatever host the task names, so that no task makes this program fetch from elsewhere.
"""

import base64
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.detections import Detected
from service.errors import ServiceError
from service.formats import label_studio_prediction
from service.offline.answers import Asked, ServedModel
from service.offline.client import AsyncClient

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Labelling:
    """What a labelling configuration says of boxes.

    Attributes:
        from_name, to_name: of the RectangleLabels, and of the Image that they lie on.
        key: of the task's data, in which the photograph's address is.
        labels: what may be said, by what a model may call it: in small letters, or by an alias.
    """

    from_name: str
    to_name: str
    key: str
    labels: Mapping[str, str]


def labelling_of(config: str) -> Labelling | None:
    """What the configuration says; None where it has no boxes."""
    tree = ElementTree.fromstring(config)
    boxes = tree.find(".//RectangleLabels")
    if boxes is None:
        return None
    to_name = boxes.attrib["toName"]
    (image,) = (each for each in tree.iter("Image") if each.attrib["name"] == to_name)
    labels: dict[str, str] = {}
    for label in boxes.iter("Label"):
        value = label.attrib["value"]
        aliases = label.attrib.get("predicted_values", "").split(",")
        labels |= {name.strip().lower(): value for name in (*aliases, value) if name.strip()}
    return Labelling(boxes.attrib["name"], to_name, image.attrib["value"].lstrip("$"), labels)


class LabelStudio:
    """Where photographs are fetched from."""

    def __init__(self, url: str, key: str) -> None:
        """`key` is a personal access token, or a legacy one."""
        self._key = key
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def photograph(self, address: str) -> bytes:
        """The bytes at the path of `address`. Raises httpx.HTTPError."""
        if address.startswith("data:"):
            return base64.b64decode(address.partition(",")[2])
        parts = urlsplit(address)
        # One slash: after two would come another host.
        path = "/" + parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
        answer = await self._http.get(path, headers={"authorization": await self._authorization()})
        answer.raise_for_status()
        return answer.content

    async def _authorization(self) -> str:
        # A personal access token is a JWT with three parts, and buys one that lasts for minutes.
        if self._key.count(".") != 2:
            return f"Token {self._key}"
        answer = await self._http.post("/api/token/refresh", json={"refresh": self._key})
        answer.raise_for_status()
        return f"Bearer {answer.json()['access']}"


async def health(request: Request) -> JSONResponse:
    """That it is there."""
    return JSONResponse({"status": "UP", "model_class": "fpn-serve"})


async def setup(request: Request) -> JSONResponse:
    """Which model answers."""
    model = await request.app.state.detector.model()
    return JSONResponse({"model_version": _version(model)})


async def predict(request: Request) -> JSONResponse:
    """A prediction for each task, empty where the photograph could not be answered."""
    asked = await request.json()
    detector: AsyncClient = request.app.state.detector
    model = await detector.model()
    labelling = labelling_of(asked["label_config"])
    if labelling is None:
        return JSONResponse({"results": [{"result": []} for _ in asked["tasks"]]})
    results = [await _prediction(request.app, task, labelling, model) for task in asked["tasks"]]
    return JSONResponse({"results": results, "model_version": _version(model)})


async def _prediction(
    app: Starlette, task: dict[str, Any], labelling: Labelling, model: ServedModel
) -> dict[str, Any]:
    try:
        data = await app.state.label_studio.photograph(task["data"][labelling.key])
        found = await app.state.detector.detect(data, Asked(priority="bulk"))
    except (ServiceError, httpx.HTTPError, ValueError, KeyError) as error:
        print(f"task {task.get('id')}: {error}", flush=True)
        return {"model_version": _version(model), "score": 0.0, "result": []}
    return in_their_words(label_studio_prediction(found, model), found, labelling)


def in_their_words(
    prediction: dict[str, Any], found: Detected, labelling: Labelling
) -> dict[str, Any]:
    """The prediction with the configuration's names; a class that it does not have is left out."""
    result = [
        {
            **each,
            "from_name": labelling.from_name,
            "to_name": labelling.to_name,
            "value": {
                **each["value"],
                "rectanglelabels": [labelling.labels[detection.label.lower()]],
            },
        }
        for each, detection in zip(prediction["result"], found.detections, strict=True)
        if detection.label.lower() in labelling.labels
    ]
    best = max((each["score"] for each in result), default=0.0)
    return {**prediction, "result": result, "score": best}


async def webhook(request: Request) -> JSONResponse:
    """Nothing is learnt from what people correct: train with fpn-train."""
    return JSONResponse({})


def _version(model: ServedModel) -> str:
    return f"{model.name} {model.version}"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Connections to both sides."""
    app.state.label_studio = LabelStudio(
        os.environ["LABEL_STUDIO_URL"], os.environ.get("LABEL_STUDIO_API_KEY", "")
    )
    async with AsyncClient(os.environ["FPN_URL"], os.environ.get("FPN_KEY")) as detector:
        app.state.detector = detector
        yield
    await app.state.label_studio.close()


app = Starlette(
    routes=[
        Route("/", health),
        Route("/health", health),
        Route("/setup", setup, methods=["POST"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/webhook", webhook, methods=["POST"]),
    ],
    lifespan=lifespan,
)
