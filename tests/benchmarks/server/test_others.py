import subprocess
import sys

from benchmarks.server.others import TICKS, own_ticks
from benchmarks.server.race import ATTEMPTS, undisturbed

BUSY = "import time\nwhile time.process_time() < 1: pass"
# Its child soon has another parent; it keeps standard output open until it ends.
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}])"

NEVER = -1.0  # others cannot take so little


def ticks_of(script: str) -> int:
    before = own_ticks()
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    return own_ticks() - before


def test_what_this_process_starts_is_no_other_and_what_others_start_is() -> None:
    assert ticks_of(BUSY) >= 0.95 * TICKS
    assert ticks_of(ORPHAN) < 0.95 * TICKS


def test_a_run_is_repeated_until_others_are_quiet() -> None:
    runs = iter(range(ATTEMPTS))
    assert undisturbed(lambda: next(runs), float("inf"))[0] == 0
    runs = iter(range(ATTEMPTS))
    result, others = undisturbed(lambda: next(runs), NEVER, calm_s=0)
    assert list(runs) == []
    assert result in range(ATTEMPTS)
    assert others >= 0
