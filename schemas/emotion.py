"""The worker's record: what a message was found to express. It carries no text."""

import math
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.instant import UtcText
from schemas.record import MessageId, Probability, Record, Text

Emotion = Literal["분노", "불안", "슬픔", "평온", "당황", "기쁨"]

# In the label order of the published model family; what a model's logits mean is for the model's
# own id2label to say.
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)

# Room for scores rounded to four decimals, and far from what logits or a sigmoid would give.
_SUM_TOLERANCE = 1e-3


def _check_scores(scores: dict[str, float]) -> dict[str, float]:
    """Put the scores in label order, so that equal events are equal bytes."""
    if len(scores) != len(EMOTIONS) or not all(label in scores for label in EMOTIONS):
        raise PydanticCustomError("scores", "Scores should have exactly the six emotions")
    if not math.isclose(sum(scores.values()), 1.0, rel_tol=0.0, abs_tol=_SUM_TOLERANCE):
        raise PydanticCustomError("scores", "Scores should sum to 1")
    return {label: scores[label] for label in EMOTIONS}


Scores = Annotated[
    dict[str, Probability],
    AfterValidator(_check_scores),
    Field(
        json_schema_extra={"propertyNames": {"enum": list(EMOTIONS)}, "required": list(EMOTIONS)}
    ),
]


class ModelRef(Record):
    """The model that gave a result."""

    name: Annotated[str, StringConstraints(min_length=1)]
    version: Annotated[str, StringConstraints(min_length=1)]


class SourceRef(Record):
    """The input record that a result came from."""

    topic: Annotated[str, StringConstraints(min_length=1)]
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]

    @property
    def event_id(self) -> str:
        """The id that this record's event gets, however often it is classified."""
        return f"{self.topic}-{self.partition}-{self.offset}"


class EmotionEvent(Record):
    """One message's emotion, with what is needed to trust it or trace it."""

    schema_version: Literal[1] = 1
    event_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+-[0-9]+-[0-9]+$")]
    """`{topic}-{partition}-{offset}` of the source record: drop repeats by it."""
    message_id: MessageId
    room_id: Text | None
    user_id: Text | None
    emotion: Emotion
    confidence: Probability
    """The top probability."""
    margin: Probability
    """The top probability minus the second."""
    scores: Scores
    """Each label's probability; they sum to 1."""
    low_margin: bool
    """Whether the margin is under the worker's threshold."""
    truncated: bool
    """Whether the text was longer than the token limit."""
    model: ModelRef
    source: SourceRef
    sent_at: UtcText
    """When the message was sent: RFC 3339, UTC, milliseconds."""
    classified_at: UtcText
    """When the worker classified it: RFC 3339, UTC, milliseconds."""
