"""The topics' default names; the settings of worker and trainer may name others."""

CHAT_MESSAGES = "chat.messages"
CHAT_EMOTIONS = "chat.emotions"
CHAT_EMOTIONS_REVIEW = "chat.emotions.review"
CHAT_MESSAGES_DLQ = "chat.messages.dlq"
EMOTION_MODELS = "emotion.models"
