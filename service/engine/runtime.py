"""ONNX Runtime with its telemetry off: the only module of the service that imports it.

Since 1.29 the library writes a device id and queued events under the user's cache folder as soon as it is
loaded, and sends them (microsoft/onnxruntime#27379). It reads this variable once, while it is loaded; its
own `disable_telemetry_events` comes after the first file and the first event.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

__all__ = ["ort"]
