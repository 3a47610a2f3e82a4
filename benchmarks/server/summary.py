"""What was measured, as tables in Markdown: medians over rounds, and in brackets the ratio to our server."""

import math
from collections.abc import Sequence
from statistics import median

from benchmarks.server.contenders import OURS
from benchmarks.server.race import CONNECTIONS, LOADS
from benchmarks.server.results import Results


def report(results: Results) -> str:
    """Both tables of every model, and under which conditions they were measured."""
    parts = []
    for model in results.models():
        parts += [f"### {model}", closed_table(results, model), open_table(results, model)]
        parts += [f"{server}: {why}" for server, why in results.failures.get(model, {}).items()]
    parts.append("; ".join(f"{name} {value}" for name, value in results.conditions.items()))
    parts.append(_costs(results))
    return "\n\n".join(part for part in parts if part)


def closed_table(results: Results, model: str) -> str:
    """Each server alone with one connection, with CONNECTIONS of them, and its memory."""
    heads = (
        "server", "alone: p50 ms", f"{CONNECTIONS} connections: images/s", "p50 ms", "p99 ms", "failed",
        "memory MiB, RSS", "PSS", "rounds",
    )  # fmt: skip
    rows = [
        [
            server,
            _with_ratio(results, model, server, "alone", "p50_s"),
            _with_ratio(results, model, server, "crowd", "images_per_s"),
            _figure(results, model, server, "crowd", "p50_s") if _served(results, model, server) else "",
            _with_ratio(results, model, server, "crowd", "p99_s"),
            _failed(results, model, server, "crowd"),
            _figure(results, model, server, "memory", "rss_bytes"),
            _figure(results, model, server, "memory", "pss_bytes"),
            str(len({each.round for each in results.records if each.server == server and each.model == model})),
        ]
        for server in results.servers(model)
    ]  # fmt: skip
    return table(heads, rows)


def open_table(results: Results, model: str) -> str:
    """Each server at parts of the peak; empty where no open loop was run."""
    peak = results.peaks.get(model)
    cells = [f"{load} %" for load in LOADS]
    rows = [
        [server, *(text for cell in cells for text in _open_cells(results, model, server, cell))]
        for server in results.servers(model)
        if any(results.by_round(model, server, cell, "p50_s") for cell in cells)
    ]
    if peak is None or not rows:
        return ""
    heads = ["server"]
    for load in LOADS:
        heads += [f"{load} %, {peak * load / 100:.1f}/s: p50 ms", "p99 ms", "failed"]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _costs(results: Results) -> str:
    """What the client and others took of the machine, beside which the servers were measured."""
    said = []
    for name, value in (("the client", "client_cores"), ("others", "others_cores")):
        cores = [each.values[value] for each in results.records if value in each.values]
        if cores:
            said.append(f"{name} took {median(cores):.2f} cores, {max(cores):.2f} at most")
    return "; ".join(said)


def _open_cells(results: Results, model: str, server: str, cell: str) -> tuple[str, str, str]:
    return (
        _figure(results, model, server, cell, "p50_s"),
        _with_ratio(results, model, server, cell, "p99_s"),
        _failed(results, model, server, cell),
    )


def _served(results: Results, model: str, server: str) -> bool:
    return bool(results.by_round(model, server, "memory", "rss_bytes"))


def _with_ratio(results: Results, model: str, server: str, cell: str, value: str) -> str:
    figure = _figure(results, model, server, cell, value)
    ratio = results.ratio(model, server, OURS, cell, value)
    return figure if ratio is None or server == OURS else f"{figure} ({_number(ratio, 2)})"


def _figure(results: Results, model: str, server: str, cell: str, value: str) -> str:
    middle = results.middle(model, server, cell, value)
    if middle is None:
        return ""
    if value.endswith("_s") and value != "images_per_s":
        return _number(1000 * middle, 0)
    if value.endswith("_bytes"):
        return f"{middle / 2**20:,.0f}"
    return _number(middle, 1)


def _failed(results: Results, model: str, server: str, cell: str) -> str:
    """The share of all requests of all rounds."""
    failed = sum(results.by_round(model, server, cell, "failed").values())
    sent = sum(results.by_round(model, server, cell, "requests").values())
    return f"{100 * failed / sent:.1f} %" if failed else ""


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if math.isfinite(value) else "∞"
