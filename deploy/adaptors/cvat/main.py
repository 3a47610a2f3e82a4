"""A nuclio function with which CVAT annotates by fpn-serve. function.yaml beside this file deploys it.

CVAT posts {"image": base64, "threshold": 0.5}; the answer is a list of rectangles. Only the standard library is needed.
"""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 60.0


def init_context(context: Any) -> None:
    """Says whom the function asks; nuclio calls it once."""
    context.user_data.url = os.environ["FPN_URL"].rstrip("/")
    context.user_data.key = os.environ.get("FPN_KEY", "")
    context.logger.info(f"detections come from {context.user_data.url}")


def handler(context: Any, event: Any) -> Any:
    """The rectangles in one image; nuclio calls it for each."""
    status, body = answer(context.user_data.url, context.user_data.key, event.body)
    if status != 200:
        context.logger.error(f"{status}: {body}")
    return context.Response(
        body=json.dumps(body), headers={}, content_type="application/json", status_code=status
    )


def answer(url: str, key: str, asked: dict[str, Any]) -> tuple[int, Any]:
    """The status and the body for CVAT: rectangles, or the server's problem."""
    query = {"proposals": 0, "priority": "bulk"}
    if asked.get("threshold") is not None:
        query["score_threshold"] = asked["threshold"]
    request = urllib.request.Request(
        f"{url}/detect?{urllib.parse.urlencode(query)}",
        data=base64.b64decode(asked["image"]),
        headers={"content-type": "application/octet-stream"},
    )
    if key:
        request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            (image,) = json.load(reply)["images"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    return 200, [
        {
            "confidence": str(each["score"]),
            "label": each["label"],
            "points": each["box"],
            "type": "rectangle",
        }
        for each in image["detections"]
    ]
