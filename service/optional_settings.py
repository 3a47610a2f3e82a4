"""Settings of what is off unless somebody sets it. `Settings` has them, and reads them as all others."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

# Who is answered on a route: anybody, who has a key, or nobody.
Opening = Literal["open", "key", "off"]


class OptionalSettings(BaseSettings):
    """Each description says what a value must be."""

    keys: Path | None = Field(
        None, description="a file with the keys that clients must have (fpn-serve --new-key NAME)"
    )
    page: Opening = Field(
        "open", description="who gets the page at /: open, key (one of FPN_KEYS) or off"
    )
    docs: Opening = Field(
        "open", description="who gets /docs and /openapi.json: open, key (one of FPN_KEYS) or off"
    )
    metrics: Opening = Field(
        "open", description="who gets /metrics: open, key (one of FPN_KEYS) or off"
    )
    cors_origins: str = Field(
        "",
        description="origins whose pages may ask, like https://example.org,https://example.net, or *",
        pattern=r"^(\*|(https?://[^,\s/]+(,https?://[^,\s/]+)*)?)$",
    )
    watch: bool = Field(
        False,
        description="whether a changed file of FPN_MODEL is served without a restart, 1 or 0 (SIGHUP does it once)",
    )
    shadow: Path | None = Field(
        None, description="a second model, which sees a share of the requests and answers none"
    )
    shadow_share: float = Field(
        0.1,
        description="the share of requests that FPN_SHADOW sees, above 0, at most 1",
        gt=0,
        le=1,
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="a line of the log: text (key=value) or json"
    )
    traces: bool = Field(
        False,
        description="whether OpenTelemetry traces go to OTEL_EXPORTER_OTLP_ENDPOINT, 1 or 0 (needs the extra otel)",
    )
    deepstack: bool = Field(
        False,
        description="whether POST /v1/vision/detection answers as DeepStack and CodeProject.AI do, 1 or 0",
    )
