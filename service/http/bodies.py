"""The images of a request, from any of the three bodies that /detect takes.

    multipart/form-data          every part named `images`, and `regions`; others are ignored
    image/*, octet-stream        the body is the image
    application/json             {"images": [{"content": base64, "regions": [[x1, y1, x2, y2]]}]}

Regions are boxes of the caller's own in pixels of the upright image; in multipart they are one part
of JSON, a list of boxes for each image.

A body is received whole, then parsed: two steps, since one waits for the client and the other works.
It stays in memory: what may be inside at once is bounded by admission.
"""

import asyncio

from starlette.requests import Request

from service.admission import Receipt
from service.detector import SentImage
from service.http.json_bodies import images_of_json
from service.http.multipart_bodies import images_of_multipart
from service.http.receiving import JSON, MULTIPART, Body, BodyLimits, receive_body


async def read_images(
    request: Request, limits: BodyLimits, deadline: float, receipt: Receipt
) -> list[SentImage]:
    """The images in the body, in order; at least one. `deadline` is in the event loop's time.

    Raises what `receive_body` and `parse_images` raise.
    """
    return await parse_images(await receive_body(request, limits, deadline, receipt), limits)


async def parse_images(body: Body, limits: BodyLimits) -> list[SentImage]:
    """The images in `body`, parsed in a thread: in order, at least one.

    Raises:
        InvalidBody: the body is damaged, or ends too early.
        InvalidRequest, InvalidRegions, RequestValidationError: it is not what its type says, or has no image.
        TooLarge: more images, parts or values than the limits.
    """
    if body.kind == MULTIPART:
        return await asyncio.to_thread(images_of_multipart, body.content_type, body.content, limits)
    if body.kind == JSON:
        return await asyncio.to_thread(images_of_json, body.content, limits)
    return [SentImage(body.content)]
