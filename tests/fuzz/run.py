"""Many cases against a real server, and a table of what came back: `python -m tests.fuzz.run --cases 100000`.

The exit status is 1 when anything was found. `--case N` sends one again, and prints it.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from tests.fuzz.answers import Exchange, exchange
from tests.fuzz.messages import case
from tests.service.process import ServerProcess, serving
from tests.service.tiny_model import write_tiny_model
from tests.service.wire import GET, exchanged

# Short times where cases are cut off; the rest is as an operator has it.
VARIABLES = {
    "FPN_HEADER_TIMEOUT_S": "0.5",
    "FPN_UPLOAD_PAUSE_S": "0.5",
    "FPN_LINGER_S": "0.5",
    "FPN_LOG_LEVEL": "info",
}
# Far above all that a case may take by its limits: a server that hangs, not one that is slow.
PATIENCE_S = 60.0
CLIENTS = 16


@contextmanager
def fuzzed_server(model: Path) -> Iterator[ServerProcess]:
    """A server to be fuzzed."""
    with serving(FPN_MODEL=str(model), FPN_DEVICE="cpu", **VARIABLES) as server:
        server.line_with("event=ready")
        yield server


def findings(server: ServerProcess, seeds: Iterable[int]) -> tuple[Counter[str], list[str]]:
    """How many cases had which status, and what was found: in answers, in the log, of the server's health."""
    port = server.port()

    def tried(seed: int) -> tuple[int, Exchange]:
        return seed, exchange(port, case(seed), PATIENCE_S)

    counts: Counter[str] = Counter()
    found: list[str] = []
    with ThreadPoolExecutor(CLIENTS) as clients:
        for seed, result in clients.map(tried, seeds):
            counts[str(result.status or "closed")] += 1
            if result.finding:
                found.append(f"case {seed}: {result.finding}")
    if server.process.poll() is not None:
        found.append(f"the server ended with {server.process.returncode}")
    elif exchanged(port, GET).status != 200:
        found.append("the server is not alive")
    wrong = ("unexpected error", "Traceback", "level=error")
    found += [f"log: {line}" for line in server.log if any(word in line for word in wrong)]
    return counts, found


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first case")
    parser.add_argument("--case", type=int, help="print this case and its answer")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.cases)
    if options.case is not None:
        seeds = range(options.case, options.case + 1)
        sys.stdout.write(f"{case(options.case)!r}\n")
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "tiny.onnx")
        with fuzzed_server(model) as server:
            counts, found = findings(server, seeds)
    lines = [f"{status:>8} {count:>8}" for status, count in sorted(counts.items())]
    summary = f"{len(seeds)} cases in {perf_counter() - began:.0f} s, {len(found)} findings"
    sys.stdout.write("\n".join([*lines, *found[:100], summary, ""]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
