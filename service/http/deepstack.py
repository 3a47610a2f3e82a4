"""DeepStack's route, `POST /v1/vision/detection`, for those who speak nothing else; CodeProject.AI has the same one.

    in     multipart: image, and perhaps min_confidence and api_key
    out    {"success": true, "predictions": [{"label", "confidence", "x_min", "y_min", "x_max", "y_max"}], ...}

A key may come as in any other request, or as api_key: these clients have no other place for one.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service.detections import Detection, Wanted, score_thresholds
from service.detector import Detector, Found, SentImage, Work
from service.errors import InvalidRequest, ServiceError, TooLarge
from service.http.disconnect import unless_disconnected
from service.http.gate import secret_of
from service.http.handlers import REFUSALS
from service.http.multipart_bodies import MOST_OTHER_PARTS, boundary_of, parts_of
from service.http.problems import problem_from
from service.http.quota import spending
from service.http.receiving import MULTIPART, Body, limits_of, receive_body

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Form:
    """What a client sends."""

    image: bytes
    min_confidence: float | None
    api_key: str | None


@router.post("/v1/vision/detection")
async def detection(request: Request) -> Response:
    """Detections of one image, or why there are none."""
    detector: Detector = request.app.state.detector
    try:
        with detector.used():
            return await _predictions(request, detector)
    except ServiceError as error:
        if isinstance(error, REFUSALS):
            request.app.state.metrics.refused.labels(error.reason).inc()
        request.state.log_fields = {"reason": error.reason}
        problem = problem_from(error)
        body = {"success": False, "error": problem.detail, "code": problem.status}
        answer = problem.to_response()
        headers = {k: v for k, v in answer.headers.items() if k == "retry-after"}
        return JSONResponse(body, problem.status, headers)


async def _predictions(request: Request, detector: Detector) -> Response:
    deadline = detector.deadline(None)
    detector.look(deadline)
    limits = limits_of(request.app.state.settings, 0)
    with detector.admission.receive() as receipt:
        body = await receive_body(request, limits, deadline, receipt)
        form = await asyncio.to_thread(form_of, body)
        if request.app.state.keys:
            request.state.key = request.app.state.keys.find(
                secret_of(request.headers) or form.api_key
            )
        request.state.key.look()
        thresholds = score_thresholds(form.min_confidence, detector.manifest)
        images = [SentImage(form.image)]
        work = Work(Wanted(thresholds, None, None, 0, ()), deadline)
        with spending(request, images, detector.manifest.resize):
            (outcome,) = await unless_disconnected(request.receive, detector.detect(images, work))
    if isinstance(outcome, ServiceError):
        raise outcome
    return JSONResponse(_answer(outcome, request.state.began))


def form_of(body: Body) -> Form:
    """What is in the body. Raises InvalidBody, InvalidRequest and TooLarge."""
    if body.kind != MULTIPART:
        raise InvalidRequest(f"expected {MULTIPART} with a part named image, got {body.kind}")
    fields: dict[str, bytes] = {}
    for number, (segment, content) in enumerate(
        parts_of(boundary_of(body.content_type), body.content)
    ):
        if number > MOST_OTHER_PARTS:
            raise TooLarge(f"more than {MOST_OTHER_PARTS} parts", reason="parts")
        fields.setdefault(segment.name or "", content)
    if "image" not in fields:
        raise InvalidRequest(f"expected a part named image, got {', '.join(sorted(fields)[:5])}")
    key = fields.get("api_key", b"").decode("utf-8", "replace")
    return Form(fields["image"], _confidence(fields.get("min_confidence")), key or None)


def _confidence(given: bytes | None) -> float | None:
    if not given:
        return None
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidRequest("min_confidence: expected a number from 0 to 1")
    return value


def _answer(found: Found, began: float) -> dict[str, Any]:
    """With milliseconds, as CodeProject.AI has them beside what DeepStack has."""
    predictions = [_prediction(each) for each in found.detected.detections]
    labels = ", ".join(each["label"] for each in predictions)
    return {
        "success": True,
        "predictions": predictions,
        "count": len(predictions),
        "message": f"Found {labels}" if predictions else "No objects found",
        "duration": round(perf_counter() - began, 4),
        "inferenceMs": round(1000 * found.inference_s),
        "processMs": round(1000 * (found.decode_s + found.queue_s + found.inference_s)),
        "code": 200,
    }


def _prediction(found: Detection) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = map(round, found.box)
    place = {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}
    return {"label": found.label, "confidence": found.score, **place}
