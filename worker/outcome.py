"""Which records a decision becomes: emotion event, review sample, dead letter (no I/O)."""

from schemas.deadletter import Reason
from worker import codec
from worker.classifier import ModelId
from worker.codec import Chat, Output, Record
from worker.decision import Decision, sampled
from worker.lane import Outcome
from worker.settings import WorkerSettings


class Router:
    """Routes decisions to topics as the settings say."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._withhold = settings.low_margin_events == "withhold"
        self._model: ModelId | None = None  # the last one, and as events name it
        self._named: dict[str, str] = {}

    def fields(
        self,
        record: Record,
        chat: Chat,
        decision: Decision,
        model: ModelId,
        truncated: bool,  # noqa: FBT001
    ) -> dict[str, object]:
        """The emotion event, in the order of the wire."""
        if model is not self._model:
            self._model, self._named = model, {"name": model.name, "version": model.version}
        return codec.event_fields(
            record,
            chat,
            decision,
            truncated=truncated,
            model=self._named,
            classified_at=codec.now_text(),
        )

    def route(  # noqa: PLR0913, PLR0917  (all that an event tells of)
        self,
        record: Record,
        chat: Chat,
        decision: Decision,
        model: ModelId,
        truncated: bool,  # noqa: FBT001
        tokens: int,
    ) -> Outcome:
        """The emotion event, and the review sample where it is due."""
        settings = self._settings
        fields = self.fields(record, chat, decision, model, truncated)
        headers = codec.trace_headers(record.headers)
        outputs: list[Output] = []
        kind = "event"
        if decision.low_margin and self._withhold:
            kind = "withheld"
        else:
            event = codec.encode(fields)
            outputs.append(Output(settings.emotion_topic, record.key, event, headers))
        reason, probability = "", 1.0
        if decision.low_margin:
            reason = "low_margin"
        elif sampled(str(fields["event_id"]), settings.review_sample_rate):
            reason, probability = "random", settings.review_sample_rate
        if reason:
            fields["text"] = chat.text
            fields["reason"] = reason
            fields["inclusion_probability"] = probability
            sample = codec.encode(fields)
            outputs.append(Output(settings.review_topic, record.key, sample, headers))
        return Outcome(
            kind, tuple(outputs), record.timestamp, tokens, decision.emotion, review=reason
        )

    def refuse(self, record: Record, reason: Reason, error: str, tokens: int) -> Outcome:
        """The dead letter."""
        letter = codec.dead_letter(self._settings.dead_letter_topic, record, reason, error)
        return Outcome("dead_letter", (letter,), record.timestamp, tokens, reason=reason.value)
