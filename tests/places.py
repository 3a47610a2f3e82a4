"""Where the project lies, and what is laid beside it on some machines: tests that use that skip where it is absent."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
