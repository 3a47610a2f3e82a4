"""A CPU with AVX2 and nothing newer, emulated: there int8 kernels add products in pairs that saturate at 16 bits."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

EMULATOR = "qemu-x86_64"
TIME_LIMIT_S = 240.0


def output_on_avx2(script: str, *arguments: str) -> str:
    """What a Python of ours prints that runs `script` there; skips the test where the emulator is not installed.

    Ten to fifty times slower: for small graphs.
    """
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        pytest.skip(f"{EMULATOR} emulates the CPU, and is not installed (Debian: qemu-user)")
    python = str(Path(sys.executable).resolve())
    # -0: the name that Python finds its environment by
    command = [emulator, "-cpu", "Haswell", "-0", sys.executable, python, "-c", script, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
