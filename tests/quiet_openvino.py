"""OpenVINO without its telemetry, which importing it would write a client id into the home folder for."""

import sys

# None in its place, OpenVINO takes a stub of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

__all__ = ["openvino"]
