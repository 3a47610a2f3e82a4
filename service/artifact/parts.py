"""The types that the manifest is built from: frozen, strict, and without a key that is not known."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """An object of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
