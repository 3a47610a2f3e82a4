"""Requests to begin with, and what is done to them.

A case is the bytes of one connection. It is made of a seed alone, so that a find can be made again.
"""

import base64
import json
import random
from collections.abc import Callable

from tests.service.images import encoded, plain, png

JPEG = encoded(plain(20, 33, (200, 90, 10)), "JPEG")
PNG = png(30, 45, (255, 200, 0))
IMAGES = (
    JPEG,
    PNG,
    encoded(plain(9, 8, (1, 2, 3)), "GIF"),
    encoded(plain(8, 9, (9, 9, 9)), "WEBP"),
)
# What parsers trip over.
TOKENS = (
    *(
        b"",
        b"\0",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b'"',
        b"'",
        b"\\",
        b"/",
        b"%00",
        b"%",
        b"\xff",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
        b"--XX",
        b"--XX--",
        b"--XX\r\n",
        b"XX",
    ),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"[" * 300,
        b'{"a":' * 300,
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
    ),
    *(
        b"1e999",
        b"-1",
        b"0",
        b"1" * 5000,
        b"9" * 30,
        b"1.",
        b"\\u0000",
        b"\\ud800",
        b"data:image/png;base64,",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Content-Encoding: gzip\r\n",
    ),
    *(
        b"Host: a\r\n",
        b"X-Request-Id: \x01\r\n",
        b"X-Forwarded-For: 1, ,::,%\r\n",
        b"A: " + b"b" * 5000 + b"\r\n",
    ),
    *(
        b"Content-Type: application/json\r\n",
        b"Content-Type: multipart/form-data\r\n",
        b"a=b&" * 300,
    ),
    *(
        b"HEAD",
        b"OPTIONS",
        b"CONNECT",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"/../",
        b"//",
        b"*",
        b"http://a/b",
        b"?",
        b"#",
    ),
    *(
        b'"images"',
        b'"regions"',
        b'name="images"',
        b'name=""',
        b"filename*=utf-8''%ff",
        b"form-data",
        b";",
    ),
)
QUERIES = (
    *("", "score_threshold=0.2&proposals=3", "classes=cat&classes=bird&levels=P2", "timeout_s=5"),
    *(
        "max_detections=1",
        "classes=zebra",
        "score_threshold=nan",
        "proposals=-1",
        "unknown=1",
        "levels=",
    ),
    *(
        "max_detections=99999999999999999999",
        "proposals=1e400",
        "classes=%F0%9F%98%80",
        "timeout_s=1e-300",
    ),
)


def case(seed: int) -> bytes:
    """The bytes of case `seed`."""
    chance = random.Random(seed)
    head, body = chance.choice(REQUESTS)(chance)
    if chance.random() < 0.7:
        body = mutated(body, chance)
    if chance.random() < 0.9:
        head += b"Content-Length: %d\r\n" % (
            len(body) + (chance.random() < 0.05) * chance.randint(-5, 5)
        )
    else:
        head, body = head + b"Transfer-Encoding: chunked\r\n", _chunked(body, chance)
    if chance.random() < 0.4:
        head = mutated(head, chance)
    whole = head + b"\r\n" + body
    return whole * 2 if chance.random() < 0.02 else whole


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` after a few changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = chance.choice(MUTATIONS)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _drop(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.choice((1, 2, 4, 30)) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(TOKENS) + data[place:]


def _replace(data: bytes, chance: random.Random) -> bytes:
    """One token for another that is there."""
    there = [token for token in TOKENS if token and token in data]
    if not there:
        return _insert(data, chance)
    return data.replace(chance.choice(there), chance.choice(TOKENS), chance.choice((1, -1)))


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    part = data[start : start + chance.choice((1, 20, 200))]
    return data[:start] + part * chance.choice((2, 3, 100)) + data[start:]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _cut, _drop, _insert, _insert, _replace, _replace, _repeat),
)


def _chunked(body: bytes, chance: random.Random) -> bytes:
    size = chance.choice((1, 7, 1000)) if len(body) < 3000 else 1000
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def _detect(chance: random.Random, content_type: str) -> bytes:
    query = chance.choice(QUERIES)
    if chance.random() < 0.1:
        query = "&".join(chance.choice(QUERIES) for _ in range(5))
    return f"POST /detect?{query} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n".encode()


def _raw(chance: random.Random) -> tuple[bytes, bytes]:
    kind = chance.choice(
        ("image/png", "image/x-anything", "application/octet-stream", "text/plain")
    )
    return _detect(chance, kind), chance.choice(IMAGES)


def _json(chance: random.Random) -> tuple[bytes, bytes]:
    entries = []
    for _ in range(chance.randint(0, 3)):
        image = base64.b64encode(chance.choice(IMAGES)).decode()
        boxes = [[1, 2, 5.5, 7]] * chance.randint(0, 3)
        entries.append({"content": image, "regions": boxes} if boxes else {"content": image})
    return _detect(chance, "application/json"), json.dumps({"images": entries}).encode()


def _multipart(chance: random.Random) -> tuple[bytes, bytes]:
    part = '--XX\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    count = chance.randint(0, 3)
    body = b"".join(
        (part % ("images", '; filename="a.jpg"')).encode() + chance.choice(IMAGES) + b"\r\n"
        for _ in range(count)
    )
    if chance.random() < 0.4:
        regions = json.dumps([[[1, 2, 5, 7]]] * count).encode()
        body += (part % ("regions", "")).encode() + regions + b"\r\n"
    return _detect(chance, "multipart/form-data; boundary=XX"), body + b"--XX--\r\n"


PATHS = (
    *("/livez", "/readyz", "/model", "/metrics", "/docs", "/openapi.json", "/x"),
    "/static-offline-docs/",
)


def _get(chance: random.Random) -> tuple[bytes, bytes]:
    path = chance.choice(
        (
            "/livez",
            "/readyz",
            "/model",
            "/metrics",
            "/docs",
            "/openapi.json",
            "/x",
            "/static-offline-docs/",
        )
    )
    method = chance.choice(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n".encode(), b""


REQUESTS: tuple[Callable[[random.Random], tuple[bytes, bytes]], ...] = (
    *(_raw, _json, _json, _multipart, _multipart, _get),
)
