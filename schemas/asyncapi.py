"""The topics as an AsyncAPI 3.0 document: who sends what where, under which key and headers."""

from typing import Any

from pydantic.json_schema import models_json_schema

from schemas import deadletter, topics
from schemas.chat import ChatMessage
from schemas.emotion import EmotionEvent
from schemas.promotion import ModelPromotion
from schemas.review import ReviewSample

Json = dict[str, Any]

_KAFKA_BINDING = "0.5.0"
_INPUT_KEY = "The input record's key: any bytes, or none."
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACEPARENT: Json = {
    "type": "string",
    "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    "description": "W3C trace context, passed from input to every output.",
}
_DEAD_LETTER_HEADERS: Json = {
    deadletter.REASON: {"type": "string", "enum": [reason.value for reason in deadletter.Reason]},
    deadletter.ERROR: {"type": "string", "description": "Class and message, never the text."},
    deadletter.TOPIC: {"type": "string", "description": "The input's topic."},
    deadletter.PARTITION: {"type": "string", "pattern": "^[0-9]+$"},
    deadletter.OFFSET: {"type": "string", "pattern": "^[0-9]+$"},
    deadletter.WORKER: {"type": "string", "description": "The worker's version."},
}


def document() -> Json:
    """Build the document; every ``$ref`` in it points inside it."""
    _, definitions = models_json_schema(
        [
            # The platform may leave out what has a default; our own writers leave nothing out.
            (ChatMessage, "validation"),
            (EmotionEvent, "serialization"),
            (ReviewSample, "serialization"),
            (ModelPromotion, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Maum",
            "version": "1.0.0",
            "description": "Emotions of Korean chat, message by message. JSON is UTF-8, one object "
            "a record; readers ignore fields they don't know.",
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": definitions["$defs"]},
    }


def _channels() -> Json:
    models = {"topicConfiguration": {"cleanup.policy": ["compact"]}}
    return {
        "chatMessages": _channel(topics.CHAT_MESSAGES, "ChatMessage", "Messages to classify."),
        "chatEmotions": _channel(topics.CHAT_EMOTIONS, "EmotionEvent", "An emotion a message."),
        "chatEmotionsReview": _channel(
            topics.CHAT_EMOTIONS_REVIEW,
            "ReviewSample",
            "Every low-margin result, and a uniform random sample.",
        ),
        "chatMessagesDlq": _channel(
            topics.CHAT_MESSAGES_DLQ, "DeadLetter", "Input records that got no emotion."
        ),
        "emotionModels": _channel(
            topics.EMOTION_MODELS,
            "ModelPromotion",
            "Promoted models; compacted, so that the newest of each name stays.",
            models,
        ),
    }


def _channel(address: str, message: str, description: str, binding: Json | None = None) -> Json:
    kafka = {"topic": address, **(binding or {}), "bindingVersion": _KAFKA_BINDING}
    return {
        "address": address,
        "description": f"{description} The name is a setting; this is the default.",
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {"kafka": kafka},
    }


def _messages() -> Json:
    any_key = "Any bytes, or none; usually the room. A null value is skipped."
    message = {
        "ChatMessage": _message("ChatMessage", any_key),
        "EmotionEvent": _message("EmotionEvent", _INPUT_KEY),
        "ReviewSample": _message("ReviewSample", _INPUT_KEY),
        "DeadLetter": _message(None, _INPUT_KEY, _DEAD_LETTER_HEADERS),
        "ModelPromotion": _message("ModelPromotion", "The model's name."),
    }
    # The bytes are the input's: they may be no JSON at all, and that may be why they are here.
    message["DeadLetter"] |= {
        "contentType": "application/octet-stream",
        "payload": {"description": "The input record's bytes, untouched."},
    }
    return message


def _message(schema: str | None, key: str, headers: Json | None = None) -> Json:
    own = headers or {}
    described: Json = {"type": "object", "properties": {**own, "traceparent": _TRACEPARENT}}
    if own:
        described["required"] = list(own)
    return {
        "contentType": "application/json",
        "headers": described,
        "payload": {"$ref": f"#/components/schemas/{schema}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": key},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _operations() -> Json:
    return {
        "workerReceivesChatMessages": _operation("receive", "worker", "chatMessages"),
        "workerSendsEmotions": _operation("send", "worker", "chatEmotions"),
        "workerSendsReviewSamples": _operation("send", "worker", "chatEmotionsReview"),
        "workerSendsDeadLetters": _operation("send", "worker", "chatMessagesDlq"),
        "workerReceivesPromotions": _operation("receive", "worker", "emotionModels"),
        "trainerReceivesReviewSamples": _operation("receive", "trainer", "chatEmotionsReview"),
        "trainerSendsPromotions": _operation("send", "trainer", "emotionModels"),
    }


def _operation(action: str, who: str, channel: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "tags": [{"name": who}],
    }
