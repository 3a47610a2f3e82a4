"""`fpn-detect URL|MODEL SOURCE...`, or `python -m service.offline`: detections in photographs as people have them.

The exit status is 0, 1 when a photograph could not be answered (the others are), 2 when the model, the server or an
option cannot be used, 3 when the server is not there, 130 when interrupted.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path

from service.engine.engine import Engine
from service.errors import InvalidRequest, InvalidSettings, ServiceError
from service.offline.answers import Asked, ServedModel
from service.offline.client import PASSING, AsyncClient
from service.offline.direct import Direct, Plan, served_by, wanted_of
from service.offline.ids import Ids
from service.offline.options import is_address, parser
from service.offline.outcome import Outcome
from service.offline.remote import Remote
from service.offline.run import Run, Wishes
from service.offline.sources import Found, files_of
from service.pictures.decoding import prepare_pillow
from service.settings import Settings

PROGRAM = "fpn-detect"
MAX_PIXELS: int = Settings.model_fields["max_pixels"].default
STDIN = "-"
BAD, UNUSABLE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = parser(PROGRAM).parse_args(arguments)
    prepare_pillow()
    try:
        return BAD if asyncio.run(_detect(options)) else 0
    except PASSING as error:
        _say(f"{error.detail}; gave up after {options.patience:g} s")
        return UNREACHABLE
    except ServiceError as error:
        _say(error.detail)
        return UNUSABLE
    except KeyboardInterrupt:
        _say("interrupted" + (": --resume goes on from here" if options.out else ""))
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has had enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _detect(options: argparse.Namespace) -> int:
    """How many photographs could not be answered."""
    if is_address(options.where):
        return await _by_server(options)
    return await _by_model(options)


async def _by_server(options: argparse.Namespace) -> int:
    key = _key(options.key_file)
    # Patience is had with the server as a whole, not with each request.
    async with AsyncClient(options.where, key, patience_s=min(options.patience, 60.0)) as client:
        model = await client.model()
    async with AsyncClient(options.where, key, patience_s=0) as client:
        remote = Remote(client, _asked(options), options.concurrency, options.patience)
        title = f"{model.name} {model.version}, at {options.where}"
        with Run(PROGRAM, _wishes(options, model, title), MAX_PIXELS) as run:
            return await _through(run, remote.outcomes(run.left()))


async def _by_model(options: argparse.Namespace) -> int:
    engine = Engine(Path(options.where), options.device, options.threads)
    most = engine.manifest.limits.max_batch
    if options.batch > most:
        raise InvalidSettings(
            f"--batch: expected at most {most}, which is what the model takes; got {options.batch}"
        )
    asked, model = _asked(options), served_by(engine)
    plan = Plan(wanted_of(asked, engine), MAX_PIXELS, options.batch, options.repeat)
    title = f"{model.name} {model.version}, {engine.manifest.precision}, on {engine.provider}"
    with Run(PROGRAM, _wishes(options, model, title), MAX_PIXELS) as run:
        return await _through(run, _in_a_thread(Direct(engine, plan).outcomes(run.left())))


async def _through(run: Run, outcomes: AsyncGenerator[Outcome, None]) -> int:
    async with aclosing(outcomes):
        async for outcome in outcomes:
            await asyncio.to_thread(run.add, outcome)
    return await asyncio.to_thread(run.finish)


async def _in_a_thread(outcomes: Iterator[Outcome]) -> AsyncGenerator[Outcome, None]:
    while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
        yield outcome


def _asked(options: argparse.Namespace) -> Asked:
    return Asked(
        score_threshold=options.score_threshold,
        max_detections=options.max_detections,
        classes=tuple(options.classes),
        proposals=options.proposals,
        tiles=options.tiles,
        priority=options.priority,
    )


def _wishes(options: argparse.Namespace, model: ServedModel, title: str) -> Wishes:
    return Wishes(
        model=model,
        title=title,
        asked=_asked(options),
        files=_files(options),
        every=options.every,
        formats=tuple(options.format),
        out=options.out,
        is_resumed=options.resume,
        ids=Ids(options.ids),
        has_bar=not options.quiet,
    )


def _files(options: argparse.Namespace) -> Iterable[Found]:
    """What is named; a list where none of it comes on standard input."""
    files = files_of(_named(options))
    return files if STDIN in options.sources else list(files)


def _named(options: argparse.Namespace) -> Iterator[str]:
    for name in options.sources:
        if name != STDIN:
            yield name
        elif options.null:
            yield from filter(None, sys.stdin.read().split("\0"))
        else:
            yield from filter(None, (line.rstrip("\r\n") for line in sys.stdin))


def _key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"--key-file: {path}: {error}") from error


def _say(text: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
