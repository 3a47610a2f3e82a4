"""The endpoints: validate, call, shape the reply."""

from collections.abc import Iterator
from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.exposition import choose_encoder
from starlette.background import BackgroundTask

from service.detector import Detector, Found, SentImage, Work
from service.engine.engine import Engine
from service.errors import ServiceError, Unavailable
from service.http.accept import Picture, picture
from service.http.bodies import read_images
from service.http.disconnect import unless_disconnected
from service.http.formats import Format, check_shape, formatted
from service.http.openapi import DETECT_BODY, OTHER_THAN_JSON, problem_responses
from service.http.quota import spending
from service.http.receiving import JSON, limits_of
from service.http.schemas import (
    DetectQuery,
    DetectResponse,
    Health,
    ModelResponse,
    WarmedBucket,
    detect_response,
    found_in_all,
)
from service.shadow import Shadow
from service.traces import Stage

router = APIRouter()


@router.post(
    "/detect",
    response_model=DetectResponse,
    responses=OTHER_THAN_JSON | problem_responses(400, 401, 408, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra={"requestBody": DETECT_BODY},
    summary="Detect objects in one or more images",
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Detections of every image, and the proposals of every pyramid level that led to them.

    Boxes are [x1, y1, x2, y2] in pixels of the upright image (EXIF orientation applied). A bad
    image among several is answered with `error` in its place; when all are bad, the request fails
    as the first one. Of one image, a client that prefers a picture to JSON (`Accept: image/jpeg`)
    gets the image with its detections drawn on it.
    """
    # This one until the answer is out, whatever is served by then.
    detector: Detector = request.app.state.detector
    with detector.used():
        return await _detected(request, query, detector)


@router.get(
    "/model",
    # Bytes of photographs, which only the server's own check reads.
    response_model_exclude={"manifest": {"golden": {"photographs": {"__all__": {"jpeg"}}}}},
    summary="What is served, and on what",
)
async def model(request: Request) -> ModelResponse:
    """The manifest, without the golden photographs' files; what runs the model, and the warmed shapes."""
    detector: Detector = request.app.state.detector
    engine: Engine = request.app.state.engine
    inference = detector.inference
    return ModelResponse(
        manifest=engine.manifest,
        provider=engine.provider,
        device=engine.device,
        placement=engine.placement,
        precision=engine.manifest.precision,
        kernels=engine.kernels,
        max_batch=max(layout.batch for layout in inference.layouts),
        layouts=list(inference.layouts),
        measured=inference.timings,
        session_bytes=engine.session_bytes,
        warmed=[
            WarmedBucket(bucket=bucket, batch_sizes=sizes)
            for bucket, sizes in detector.readiness.warmed_sizes().items()
        ],
    )


@router.get("/livez", responses=problem_responses(503), summary="Does it make progress?")
async def livez(request: Request) -> Health:
    """Fails when the process should be restarted: batches have ended, stall, or only fail."""
    fault = request.app.state.detector.readiness.fault
    if fault is not None:
        raise Unavailable(fault, reason="fault")
    return Health()


@router.get("/readyz", responses=problem_responses(503), summary="Does it take requests?")
async def readyz(request: Request) -> Health:
    """Fails while warming up, while draining, and whenever /livez does."""
    reason = request.app.state.detector.readiness.not_ready
    if reason is not None:
        raise reason
    return Health()


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """The metrics in the format that the Accept header asks for."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics.registry), media_type=content_type)


async def _detected(request: Request, query: DetectQuery, detector: Detector) -> Response:
    wanted, shape = query.wanted(detector.manifest), picture(request) or query.format
    deadline = detector.deadline(query.timeout_s)
    limits = limits_of(request.app.state.settings, detector.manifest.limits.max_regions)
    request.state.key.look()
    detector.look(deadline, query.priority)
    with detector.admission.receive() as receipt:
        images = await read_images(request, limits, deadline, receipt)
        check_shape(shape, len(images))
        work = Work(wanted, deadline, query.priority, query.tiles)
        with spending(request, images, detector.manifest.resize, query.tiles):
            answering = _answer(request, detector, images, work, shape)
            return await unless_disconnected(request.receive, answering)


async def _answer(
    request: Request,
    detector: Detector,
    images: list[SentImage],
    work: Work,
    shape: Format | Picture,
) -> Response:
    """What was found in the images, in the shape that was asked for; the second model sees them after that."""
    outcomes = await detector.detect(images, work)
    response = await _shaped(request, detector, outcomes, images, shape, work.deadline)
    if hasattr(request.state, "span"):
        request.state.span.stages(_stages(outcomes))
    shadow: Shadow | None = request.app.state.shadow
    if shadow:
        seen = (images, outcomes, work, detector.manifest)
        response.background = BackgroundTask(shadow.see, *seen)
    return response


async def _shaped(
    request: Request,
    detector: Detector,
    outcomes: list[Found | ServiceError],
    images: list[SentImage],
    shape: Format | Picture,
    deadline: float,
) -> Response:
    total_s = perf_counter() - request.state.began
    reply = detect_response(outcomes, detector.manifest, total_s)
    began = perf_counter()
    if isinstance(shape, Picture):
        (found,) = found_in_all(outcomes)
        drawn = await detector.picture(images[0], found, shape.kind, deadline)
        return _timed(Response(drawn, media_type=shape.kind), reply, "draw", began, request)
    if shape == "json":
        response = Response(reply.model_dump_json(exclude_none=True), media_type=JSON)
    else:
        response = formatted(found_in_all(outcomes), shape, detector.manifest)
    return _timed(response, reply, "encode", began, request)


def _stages(outcomes: list[Found | ServiceError]) -> Iterator[Stage]:
    """What was done for each image, one stage after the other."""
    for number, found in enumerate(outcomes):
        if isinstance(found, Found):
            ended = found.inferred
            said = {"fpn.image": number, "fpn.batch": found.batch_size}
            for name, seconds in (
                ("inference", found.inference_s),
                ("queue", found.queue_s),
                ("decode", found.decode_s),
            ):
                yield Stage(name, ended, seconds, said)
                ended -= seconds


def _timed(
    response: Response, reply: DetectResponse, stage: str, began: float, request: Request
) -> Response:
    """The response to `reply`, with its timings in Server-Timing (milliseconds) and in the log line."""
    ended = perf_counter()
    stage_s = ended - began
    if hasattr(request.state, "span"):
        request.state.span.stages([Stage(stage, ended, stage_s, {})])
    request.app.state.metrics.stage_seconds.labels(stage).observe(stage_s)
    timings = {**reply.timings_s.model_dump(), stage: round(stage_s, 6)}
    request.state.log_fields = {
        "images": len(reply.images),
        "batch_images": reply.batch.size,
        **{f"{name}_s": value for name, value in timings.items() if name != "total"},
    }
    header = ", ".join(f"{name};dur={1000 * value:.3f}" for name, value in timings.items())
    response.headers["server-timing"] = header
    return response
