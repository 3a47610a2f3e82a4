"""How many photographs a second the whole server answers, from JPEG to JSON."""

import asyncio
from pathlib import Path

from benchmarks.gpu_check.host import device
from benchmarks.gpu_check.parts import Finding, Wrong
from benchmarks.server.client import Load, closed_loop
from benchmarks.server.contenders import ours
from benchmarks.server.serving import Serving, serving

CONNECTIONS = 32


def served(model: Path, photographs: list[bytes], seconds: float) -> Finding:
    """What CONNECTIONS clients get within `seconds` of the server of `model` on this host's device."""
    contender = ours("ours", {"FPN_DEVICE": "cuda" if device() == "cuda" else "cpu"})
    requests = [contender.request(each) for each in photographs]
    with serving(contender, model.resolve()) as server:
        load = asyncio.run(_loaded(server, requests, seconds))
        held = server.memory().pss_bytes
    if not load.answered:
        raise Wrong(f"no photograph was answered: {load.failures}")
    middle, late = load.percentile_s(50), load.percentile_s(99)
    said = (
        f"{load.images_per_s:.1f} images/s with {CONNECTIONS} connections, on {device()}: half of the answers within"
        f" {middle:.3f} s, 99 % within {late:.3f} s; {load.failed} without one; {held / 2**20:,.0f} MiB"
    )
    figures = {
        "images_per_s": load.images_per_s,
        "p50_s": middle,
        "p99_s": late,
        "failed": load.failed,
        "client_cores": load.client_cores,
        "memory_bytes": held,
    }
    return Finding(said, figures=figures)


async def _loaded(server: Serving, requests: list[bytes], seconds: float) -> Load:
    await server.ready(requests[0])
    return await closed_loop(server.port, requests, CONNECTIONS, seconds)
