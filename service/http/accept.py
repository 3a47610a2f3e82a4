"""What the Accept header of /detect asks for: JSON, or the photograph with what was found drawn on it."""

from dataclasses import dataclass

from starlette.requests import Request

from service.http.receiving import JSON
from service.pictures.drawing import FORMATS, PictureType


@dataclass(frozen=True)
class Picture:
    """A picture of this media type is asked for."""

    kind: PictureType


def picture(request: Request) -> Picture | None:
    """The picture that is preferred to JSON, which is what everybody gets who says nothing."""
    qualities = _qualities(request.headers.get("accept", "*/*"))
    best = max(FORMATS, key=lambda kind: _quality(kind, qualities))
    preferred = _quality(best, qualities) > _quality(JSON, qualities)
    return Picture(best) if preferred else None


def _qualities(accept: str) -> dict[str, float]:
    """The quality of each media range, as RFC 9110 has them; what cannot be read counts as 0."""
    qualities = {}
    for each in accept.lower().split(","):
        media_range, *parameters = [part.strip() for part in each.split(";")]
        given = [value[2:] for value in parameters if value.startswith("q=")]
        qualities[media_range] = _number(given[-1]) if given else 1.0
    return qualities


def _quality(kind: str, qualities: dict[str, float]) -> float:
    group = kind.partition("/")[0]
    named = [each for each in (kind, f"{group}/*", "*/*") if each in qualities]
    return qualities[named[0]] if named else 0.0


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 <= number <= 1 else 0.0
