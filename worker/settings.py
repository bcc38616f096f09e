"""Every setting of the worker: its unit, its default, and how to tune it."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BUNDLED_MODEL: Final = Path(__file__).resolve().parent.parent / "models" / "maum-small"

ENV_FILE: Final = ".env"

# KAFKA_ is the prefix of Kafka's own tools as well (KAFKA_HEAP_OPTS): what is this near to one of
# ours is a misspelling of it; KAFKA_SSL_KEY_PASSWORD is not.
NEAR: Final = 0.84

# Kubernetes and Docker links inject these for a service that happens to be called "worker".
INJECTED: Final = re.compile(r"^WORKER_(SERVICE_.*|PORT|PORT_\d+_.*)$")

S = TypeVar("S", bound=BaseSettings)
T = TypeVar("T", bound=BaseSettings)


class SettingsError(Exception):
    """One or more settings are wrong; `mistakes` has one clear line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^][\s:]+)(:(?P<port>[0-9]{1,5}))?")


def _servers(text: str) -> str:
    for server in text.split(","):
        match = SERVER.fullmatch(server.strip())
        if match is None or not 0 < int(match["port"] or 9092) < 1 << 16:
            message = "must be host:port, several separated by commas ([address]:port for IPv6)"
            raise ValueError(message)
    return text


class KafkaSettings(BaseSettings):
    """The cluster, for worker and trainer."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", env_file=ENV_FILE, extra="ignore")

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] = Field(
        "localhost:9092", description="host:port, comma separated"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to connect"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="how to log in, with SASL_*"
    )
    sasl_username: str | None = Field(None, description="user, with SASL_*")
    sasl_password: SecretStr | None = Field(None, description="password, with SASL_*")
    ssl_cafile: Path | None = Field(None, description="PEM file of the authorities to trust")
    ssl_certfile: Path | None = Field(None, description="PEM file of the client's certificate")
    ssl_keyfile: Path | None = Field(None, description="PEM file of the client's key")

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSettings":
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_username and self.sasl_password
        ):
            message = "SASL needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            raise ValueError(message)
        if self.ssl_keyfile and not self.ssl_certfile:
            message = "KAFKA_SSL_KEYFILE needs KAFKA_SSL_CERTFILE beside it"
            raise ValueError(message)
        return self


Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class WorkerSettings(BaseSettings):
    """The worker."""

    model_config = SettingsConfigDict(env_prefix="WORKER_", env_file=ENV_FILE, extra="ignore")

    group_id: str = Field("maum-worker", min_length=1, description="consumer group")
    input_topic: Topic = Field("chat.messages", description="topic of ChatMessage")
    emotion_topic: Topic = Field("chat.emotions", description="topic of EmotionEvent")
    review_topic: Topic = Field("chat.emotions.review", description="topic of ReviewSample")
    dead_letter_topic: Topic = Field("chat.messages.dlq", description="topic of dead letters")
    models_topic: Topic = Field("emotion.models", description="topic of ModelPromotion")
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once", description="what subscribers may rely on; at_least_once may repeat"
    )
    model: str = Field(
        str(BUNDLED_MODEL),
        min_length=1,
        description="a folder, a Hugging Face id (@commit pins it), or registry:URL#alias",
    )
    model_poll_seconds: float = Field(
        30.0,
        gt=0,
        description="seconds between looks at a registry's alias; promotions on "
        "WORKER_MODELS_TOPIC are heard at once",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where it is")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="auto: bf16 (or fp16) on CUDA; on CPU int8 where it agrees with fp32 on the "
        "golden messages, else fp32",
    )
    cache_dir: Path | None = Field(
        None, description="folder for fetched models and int8 graphs; unset: the user's cache"
    )
    threads: int = Field(
        0, ge=0, description="threads of a forward pass on CPU; 0: the cores the process may use"
    )
    max_length: int = Field(256, ge=4, description="tokens a message; more are cut off")
    max_batch_tokens: int = Field(
        0,
        ge=0,
        description="padded tokens a batch; 0: 1,024 on CPU (small batches win), 16,384 on CUDA; "
        "lower it when memory is short",
    )
    max_wait_ms: float = Field(
        50.0,
        ge=0,
        description="milliseconds a queued message may be passed over by shorter ones; "
        "0: strictly oldest first (more padding)",
    )
    max_queue_tokens: int = Field(
        0,
        ge=0,
        description="tokens admitted and not yet committed before partitions pause; 0: four full "
        "batches, 16,384 at least; raise it for a fast model on a slow cluster",
    )
    cache_entries: int = Field(
        20_000,
        ge=0,
        description="decisions kept for token sequences that come again (ㅋㅋㅋ, ㅇㅇ, 네); "
        "about 0.3 kB each; 0: off",
    )
    max_message_bytes: int = Field(
        524_288, ge=1, description="bytes of an input record; larger ones are dead letters"
    )
    margin_threshold: float = Field(
        0.20, ge=0, le=1, description="top minus second probability below which a human should look"
    )
    review_sample_rate: float = Field(
        0.01, ge=0, le=1, description="share of all other messages sent to review at random"
    )
    low_margin_events: Literal["publish", "withhold"] = Field(
        "publish", description="publish: low-margin results are on the emotion topic too, marked"
    )
    commit_interval_ms: float = Field(
        50.0,
        ge=0,
        description="milliseconds a finished result may wait for others of its partition to share "
        "a transaction, four times that for messages older than a second; lower: less latency, "
        "more transactions",
    )
    commit_records: int = Field(2000, ge=1, description="records a transaction at most")
    session_timeout_ms: int = Field(
        10_000, ge=1000, description="milliseconds without a heartbeat until others take over"
    )
    transaction_timeout_ms: int = Field(
        30_000, ge=1000, description="milliseconds until the cluster aborts an open transaction"
    )
    max_poll_interval_ms: int = Field(
        300_000, ge=1000, description="milliseconds between polls until the group gives up on us"
    )
    start_seconds: float = Field(
        60.0, gt=0, description="seconds to wait for Kafka at the start before exit 1"
    )
    drain_seconds: float = Field(20.0, gt=0, description="seconds from SIGTERM to exit, at most")
    admin_host: str = Field("127.0.0.1", description="address of the admin port")
    admin_port: int = Field(9400, ge=0, le=65535, description="admin port; 0 turns it off")
    log_format: Literal["console", "json"] = Field("console", description="for eyes or machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is logged"
    )

    @model_validator(mode="after")
    def _distinct_topics(self) -> "WorkerSettings":
        outputs = [self.emotion_topic, self.review_topic, self.dead_letter_topic]
        if len({self.input_topic, *outputs}) != len(outputs) + 1:
            message = "the input, emotion, review and dead letter topics must be four topics"
            raise ValueError(message)
        return self


def load(kind: type[S], environment: Mapping[str, object] | None = None) -> S:
    """Read settings from the environment and `.env`. Raises SettingsError."""
    prefix = str(kind.model_config["env_prefix"])
    if environment is None:
        environment = {**_env_file(), **os.environ}
    mistakes = list(_unknown(kind, prefix, environment))
    try:
        settings = kind()
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            name = "".join(str(part) for part in mistake["loc"])
            where = f"{prefix}{name.upper()}: " if name else ""
            given = "" if not name or "password" in name else f" (given: {mistake['input']!r})"
            text = mistake["msg"].removeprefix("Value error, ")
            mistakes.append(f"{where}{text}{given}")
        raise SettingsError(mistakes) from None
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def load_both(first: type[S], second: type[T]) -> tuple[S, T]:
    """Read both kinds. Raises SettingsError with the mistakes of both."""
    one, other = _tried(first), _tried(second)
    if isinstance(one, SettingsError) or isinstance(other, SettingsError):
        failed = [each for each in (one, other) if isinstance(each, SettingsError)]
        # What is wrong with the file is found twice.
        raise SettingsError(list(dict.fromkeys(line for each in failed for line in each.mistakes)))
    return one, other


def _tried(kind: type[S]) -> S | SettingsError:
    try:
        return load(kind)
    except SettingsError as error:
        return error


def _env_file() -> Mapping[str, object]:
    try:
        return dotenv_values(ENV_FILE)
    except UnicodeDecodeError as error:
        message = f"{ENV_FILE}: is not UTF-8 (its byte {error.start + 1}); save it as that"
        raise SettingsError([message]) from None
    except OSError as error:
        raise SettingsError([f"{ENV_FILE}: cannot be read: {error.strerror}"]) from None


def _unknown(
    kind: type[BaseSettings], prefix: str, environment: Mapping[str, object]
) -> Iterator[str]:
    """Misspelt settings would be ignored silently; only WORKER_ and TRAINER_ are ours alone."""
    known = [name.upper() for name in kind.model_fields]
    ours = prefix != "KAFKA_"
    for name in environment:
        upper = name.upper()  # as pydantic reads them, in any case
        rest = upper.removeprefix(prefix)
        if rest in {upper, *known} or INJECTED.match(upper):
            continue
        near = difflib.get_close_matches(rest, known, n=1, cutoff=0.6 if ours else NEAR)
        if near or ours:
            hint = f"did you mean {prefix}{near[0]}?" if near else "--help lists all"
            yield f"{name}: unknown setting; {hint}"


def describe(*kinds: type[BaseSettings]) -> str:
    """All settings with defaults and units, for --help."""
    lines: list[str] = []
    for kind in kinds:
        prefix = str(kind.model_config["env_prefix"])
        lines.append(f"{(kind.__doc__ or '').strip()}")
        for name, field in kind.model_fields.items():
            lines.append(f"  {prefix}{name.upper()} ({_default(field.default)}){_choices(field)}")
            lines.append(f"      {field.description}")
    return "\n".join(lines)


def _default(value: Any) -> str:  # noqa: ANN401  (any setting's default)
    if value is None or value == "":
        return "unset"
    return "the bundled model" if value == str(BUNDLED_MODEL) else str(value)


def _choices(field: Any) -> str:  # noqa: ANN401  (pydantic's FieldInfo)
    choices = getattr(field.annotation, "__args__", ())
    words = [choice for choice in choices if isinstance(choice, str)]
    return f" [{', '.join(words)}]" if words else ""
