"""Everything that an operator can set, read from environment variables that start with FPN_.

This is the only reader of the environment. A value that cannot be used, and a variable that starts
with FPN_ but is not known (a typing error), stop the start with one line.
"""

import difflib
import os
import resource
import sys
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from service.errors import InvalidSettings
from service.optional_settings import OptionalSettings

PREFIX = "FPN_"
# Variables of other servers that would be read by what is below this one, or that somebody expects to be.
OF_OTHERS = {
    "WEB_CONCURRENCY": "expected none, since one process serves one device; scale by replicas",
    "FORWARDED_ALLOW_IPS": "expected none; set FPN_FORWARDED_ALLOW_IPS",
}
# Descriptors for what is no connection: the model, logs, threads and their queues.
OWN_DESCRIPTORS = 64
# Connections past the most, for those who ask for the server's health.
HEALTH_PLACES = 8
# More than as many connections are no help to one device.
ENOUGH_CONNECTIONS = 2048


class Settings(OptionalSettings):
    """The settings of one server process. Each description says what a value must be."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("0.0.0.0", description="the address to listen on", min_length=1)
    port: int = Field(8000, description="a port, 0 to 65535 (0 = any free one)", ge=0, le=65535)
    model: Path = Field(
        Path("deploy/models/default/model.onnx"),
        description="an exported model, or a folder with it in several precisions",
    )
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto", description="auto (CUDA where it works, else the CPU), cpu, cuda or tensorrt"
    )
    threads: int = Field(
        0, description="CPU threads of all inference, 0 or more (0 = all cores)", ge=0, le=1024
    )
    runners: int = Field(
        0,
        description="inferences at once on a CPU while images wait, 0 or more (0 = what measures best)",
        ge=0,
        le=1024,
    )
    spinning: bool = Field(
        False, description="whether inference threads keep their cores busy while they wait, 1 or 0"
    )
    conv_search: Literal["heuristic", "exhaustive", "default"] = Field(
        "heuristic",
        description="how cuDNN's algorithms are chosen on CUDA: heuristic, exhaustive or default",
    )
    conv_max_workspace: bool = Field(
        True, description="whether a convolution on CUDA may use all the memory it likes, 1 or 0"
    )
    gpu_memory_bytes: int = Field(
        0, description="the most bytes of GPU memory for tensors, 0 or more (0 = no limit)", ge=0
    )
    tensorrt_cache: Path | None = Field(
        None, description="a folder in which TensorRT keeps the engines that it builds"
    )
    max_batch: int = Field(
        0,
        description="the most images of one batch, 0 to 1024 (0 = what measures best on a CPU, 8 on a GPU)",
        ge=0,
        le=1024,
    )
    max_wait_s: float = Field(
        0.0,
        description="seconds that a batch waits for more images, 0 to 10 (0 = takes what is there)",
        ge=0,
        le=10,
    )
    queue_images: int = Field(
        64, description="the most images inside the server at once, 1 or more", ge=1
    )
    queue_bytes: int = Field(
        256 * 2**20, description="bytes of bodies inside the server at once, 1 or more", ge=1
    )
    full_status: Literal[503, 429] = Field(
        503, description="the status that refuses a request because the server is full, 503 or 429"
    )
    max_body_bytes: int = Field(32 * 2**20, description="bytes of one request, 1 or more", ge=1)
    max_connections: int = Field(
        default_factory=lambda: possible_connections(descriptors()),
        description="connections at once, 1 to what the process's descriptors leave (ulimit -n)",
        ge=1,
    )
    max_header_bytes: int = Field(
        65536,
        description="bytes of a request's line and headers, 1024 to 1048576",
        ge=1024,
        le=2**20,
    )
    header_timeout_s: float = Field(
        10.0, description="seconds for the headers of a request, above 0, at most 600", gt=0, le=600
    )
    keep_alive_s: float = Field(
        75.0,
        description="seconds between two requests of a connection, above 0, at most 3600",
        gt=0,
        le=3600,
    )
    linger_s: float = Field(
        10.0,
        description="seconds to take an answer, or to send on after a refusal, above 0, at most 600",
        gt=0,
        le=600,
    )
    root_path: str = Field(
        "",
        description="the prefix of all paths behind a proxy, like /detector",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
    )
    forwarded_allow_ips: str = Field(
        "127.0.0.1,::1",
        description="addresses and networks of proxies whose X-Forwarded-For and -Proto count, or *",
    )
    min_upload_bytes_per_s: int = Field(
        4096, description="bytes per second that a body must come with, 0 or more (0 = any)", ge=0
    )
    upload_pause_s: float = Field(
        5.0,
        description="seconds that a body may be behind that, above 0, at most 600",
        gt=0,
        le=600,
    )
    # The upper end is where Pillow itself refuses (twice its MAX_IMAGE_PIXELS).
    max_pixels: int = Field(
        50_000_000, description="pixels of one image, 1 to 178956970", ge=1, le=178_956_970
    )
    max_images: int = Field(
        16, description="images of one request, 1 to FPN_QUEUE_IMAGES", ge=1, le=1024
    )
    timeout_s: float = Field(
        30.0,
        description="seconds of a request that names no timeout_s, above 0, at most 600",
        gt=0,
        le=600,
    )
    decode_workers: int = Field(
        default_factory=lambda: min(8, os.cpu_count() or 1),
        description="processes, and as many threads, that decode images, 1 to 256",
        ge=1,
        le=256,
    )
    decode_memory_bytes: int = Field(
        2 * 2**30,
        description="bytes that each of those may allocate, 64 MiB or more",
        ge=64 * 2**20,
    )
    drift_images: int = Field(
        1000,
        description="the last images that are compared with those of validation, 0 (none) to 100000",
        ge=0,
        le=100_000,
    )
    shutdown_s: float = Field(
        30.0, description="seconds to finish what is inside on SIGTERM, 0 to 600", ge=0, le=600
    )
    stall_s: float = Field(
        60.0, description="seconds after which a running batch fails /livez, more than 0", gt=0
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies_are_addresses(cls, proxies: str) -> str:
        if proxies != "*":
            for proxy in filter(None, proxies.split(",")):
                ip_network(proxy.strip())
        return proxies

    @model_validator(mode="after")
    def _connections_have_descriptors(self) -> Self:
        possible = possible_connections(descriptors())
        if self.max_connections > possible:
            raise ValueError(
                f"FPN_MAX_CONNECTIONS: expected at most {possible}, since the process may open"
                f" {descriptors()} files (ulimit -n); got {self.max_connections}"
            )
        return self

    @model_validator(mode="after")
    def _keys_are_asked_for_where_there_are_some(self) -> Self:
        for name in ("page", "docs", "metrics"):
            if getattr(self, name) == "key" and self.keys is None:
                raise ValueError(
                    f"FPN_{name.upper()}: expected a file of FPN_KEYS for key; got none"
                )
        return self

    @model_validator(mode="after")
    def _a_request_fits_in_the_queue(self) -> Self:
        if self.max_images > self.queue_images:
            raise ValueError(
                f"FPN_MAX_IMAGES: expected at most FPN_QUEUE_IMAGES ({self.queue_images}), since a"
                f" request is admitted whole; got {self.max_images}"
            )
        return self


def descriptors() -> int:
    """How many files and connections this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def backlog(most: int) -> int:
    """How many connections may wait to be accepted, of `most` descriptors: they may all come at once."""
    return min(2048, max(16, most // 4))


def possible_connections(most: int) -> int:
    """How many connections `most` descriptors leave, up to what is enough; 0 for none."""
    left = most - OWN_DESCRIPTORS - HEALTH_PLACES - backlog(most)
    return max(0, min(ENOUGH_CONNECTIONS, left))


def load_settings() -> Settings:
    """The settings from the environment of this process.

    Raises:
        InvalidSettings: a variable is unknown or has a value that cannot be used.
    """
    refuse_unknown(os.environ)
    for name, expected in OF_OTHERS.items():
        if os.environ.get(name):
            raise InvalidSettings(f"{name}: {expected}; got {os.environ[name]!r}")
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSettings("; ".join(_explain(e) for e in error.errors())) from error


def describe_settings() -> str:
    """A line for every variable: its name, what it must be, and its default."""
    fields = Settings.model_fields.items()
    return "\n".join(
        f"  {PREFIX + name.upper():26} {field.description}"
        f" [{field.get_default(call_default_factory=True)}]"
        for name, field in fields
    )


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises InvalidSettings for the first name that starts with FPN_ and is no setting."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InvalidSettings(f"{name}: no such setting; {hint}")


def _explain(error: ErrorDetails) -> str:
    """One line for one entry of a pydantic ValidationError."""
    if not error["loc"]:
        return str(error["ctx"]["error"])
    field = str(error["loc"][0])
    expected = Settings.model_fields[field].description
    return f"{PREFIX}{field.upper()}: expected {expected}; got {error['input']!r}"
