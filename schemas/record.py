"""What every record has in common: its configuration, and text that any store can hold."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Databases and C libraries downstream cut or refuse a string at U+0000, so it stops here.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]

MessageId = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """A frozen record that takes each field as it is typed, and no other type for it.

    Validation raises ``pydantic.ValidationError``. Its ``str()`` never shows the input, which may
    be what somebody wrote in a chat; its ``errors()`` do, but for ``include_input=False``.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        hide_input_in_errors=True,
        # JSON has no NaN: orjson writes null for it, and the reader would then refuse the record.
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # A writer writes every field, so a schema of what is written requires every field.
        json_schema_serialization_defaults_required=True,
    )
