"""The types that the manifest is built from: frozen, strict, and without a key that is not known."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]


def _is_name(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("expected printable characters without white space at the ends")
    return text


# The rule is that of docs/artifact.md; `model/config/class_names.py` has it, too.
Name = Annotated[Text, AfterValidator(_is_name)]


class Part(BaseModel):
    """An object of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
