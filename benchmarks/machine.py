"""The kind of CPU that a figure was measured on: its name, its cores, and the instructions it multiplies matrices with.

Read from Linux's /proc/cpuinfo. py-cpuinfo says the same words of the same file, but takes 1.4 s, has had no release
since 2022, and starts processes that run machine code; archspec took an AMD EPYC of family 26 for a plain x86_64_v4
without VNNI.
"""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTION_SETS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
)  # fmt: skip


def this_machine() -> str:
    """One line on the CPU that this runs on; what the system does not tell is left out."""
    text = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    return kind_of_cpu(text, os.cpu_count() or 1)


def kind_of_cpu(cpuinfo: str, cores: int) -> str:
    """One line on the first CPU of `cpuinfo`, the text of /proc/cpuinfo, of which there are `cores`."""
    first, _, _ = cpuinfo.strip().partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    said = {key.strip(): value.strip() for key, _, value in pairs}
    name = said.get("model name") or platform.machine()
    # What a cloud calls its CPUs hides their generation: family and model tell it.
    if "cpu family" in said:
        name += f" (family {said['cpu family']}, model {said['model']})"
    flags = set(said.get("flags", "").split())
    present = [each for each in INSTRUCTION_SETS if each in flags]
    return ", ".join([name, f"{cores} {'core' if cores == 1 else 'cores'}", *present])
