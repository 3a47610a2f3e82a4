"""`fpn-serve --check`: the golden photographs through the parts that a server is made of, and nothing else."""

import asyncio
from collections.abc import Sequence

from fastapi import FastAPI

from service.app import create_app
from service.detector import Detector
from service.errors import InvalidModel
from service.golden import Verdict
from service.settings import Settings

TITLES = ("photograph", "detections", "largest score difference", "largest box difference")


def check(settings: Settings) -> list[Verdict]:
    """How each golden photograph of the model fares with these settings, without a warm-up and without HTTP.

    Raises:
        InvalidModel: the model cannot be served, or has no golden photographs.
        InvalidSettings: one goes beyond what the model takes.
    """
    app = create_app(settings)
    if app.state.engine.manifest.golden is None:
        raise InvalidModel(
            f"{settings.model}: it has no golden photographs: nothing to check; export it again with --golden"
        )
    return asyncio.run(_verdicts(app))


def table(given: Sequence[Verdict]) -> str:
    """A line for each photograph, then one for everything that differs."""
    rows = [
        TITLES,
        *(
            (
                each.name,
                f"{each.matched} of {each.expected}",
                f"{each.score_difference:.5f}",
                f"{each.box_difference:.3f}",
            )
            for each in given
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"{v.name}: {said}" for v in given for said in v.differences)])


async def _verdicts(app: FastAPI) -> list[Verdict]:
    detector = Detector(app.state.engine, app.state.settings, app.state.metrics)
    try:
        return await detector.verdicts()
    finally:
        await detector.stop()
