"""The trainer's intake: a classified message with its text, and why it was chosen."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.emotion import EmotionEvent
from schemas.record import Text


class ReviewSample(EmotionEvent):
    """An emotion event with the text, chosen for its low margin or by chance."""

    text: Text
    """What was written."""
    reason: Literal["low_margin", "random"]
    inclusion_probability: Annotated[float, Field(gt=0.0, le=1.0)]
    """The probability with which this message would have been chosen: 1.0 for low margin."""

    @model_validator(mode="after")
    def _low_margin_is_certain(self) -> Self:
        # Estimates weigh each sample by the inverse of this: a wrong one bends them silently.
        if self.reason == "low_margin" and self.inclusion_probability != 1.0:
            raise PydanticCustomError(
                "inclusion_probability", "Every low-margin result is chosen: 1.0 is certain"
            )
        return self
