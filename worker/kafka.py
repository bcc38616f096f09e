"""How to reach the cluster and leave it, and what its errors mean in one clear line."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from worker.settings import KafkaSettings, SettingsError

# What no retry mends: rights, names and sizes. The process stops, nothing committed past.
FATAL: Final = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.ClusterAuthorizationFailedError,
    errors.SaslAuthenticationFailed,
    errors.AuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.UnsupportedVersionError,
    errors.IncompatibleBrokerVersion,
    errors.InvalidTopicError,
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidTransactionTimeout,
    errors.InvalidSessionTimeoutError,
)


class KafkaProblemError(Exception):
    """Kafka, or what we may do there, is not as it must be: one clear line, exit 1."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for any aiokafka client. Raises SettingsError for a bad certificate."""
    password = settings.sasl_password
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_context": _ssl_context(settings) if "SSL" in protocols(settings) else None,
    }


def protocols(settings: KafkaSettings) -> list[str]:
    """`SASL_SSL` → SASL and SSL."""
    return settings.security_protocol.split("_")


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            [f"KAFKA_SSL_CAFILE: {settings.ssl_cafile} is no PEM file of certificates ({error})"]
        ) from error
    if settings.ssl_certfile:
        try:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, _no_password)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                [f"KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE: cannot be used together ({error})"]
            ) from error
    return context


def _no_password() -> str:
    """Asked for by an encrypted key; OpenSSL would ask on the terminal, and wait."""
    mistake = (
        "KAFKA_SSL_KEYFILE: the key is encrypted, and no setting holds its password; decrypt it "
        "(openssl pkey -in KEY -out PLAIN) into a file that none but the worker may read"
    )
    raise SettingsError([mistake])


TOO_LARGE: Final = (
    "an output is larger than its topic takes ({text}): raise max.message.bytes of the topic that "
    "the line before names, or lower WORKER_MAX_MESSAGE_BYTES"
)
LOGIN: Final = (
    "Kafka refuses the login ({text}): look at KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, "
    "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
)
# What to do about an error; {text} is Kafka's own word, {name} what it is about.
HINTS: Final[Mapping[type[errors.KafkaError], str]] = {
    errors.AuthenticationFailedError: LOGIN,
    errors.SaslAuthenticationFailed: LOGIN,
    errors.UnsupportedSaslMechanismError: LOGIN,
    errors.IllegalSaslStateError: LOGIN,
    errors.TopicAuthorizationFailedError: (
        "no right to use the topic {name}: grant Read on what is read from (a worker's input, a "
        "trainer's review topic), Write on what is written to"
    ),
    errors.GroupAuthorizationFailedError: (
        "no right to use the consumer group {name}: grant Read on it (a worker's is "
        "WORKER_GROUP_ID, a trainer's TRAINER_GROUP_ID)"
    ),
    # Without {name}: each partition has an id of its own, and all of them lack the same grant.
    errors.TransactionalIdAuthorizationFailed: (
        "no right to use the transactional ids of this group: grant Write on transactional ids "
        "that begin with WORKER_GROUP_ID"
    ),
    errors.MessageSizeTooLargeError: TOO_LARGE,
    errors.RecordListTooLargeError: TOO_LARGE,
    errors.InvalidSessionTimeoutError: (
        "the cluster refuses WORKER_SESSION_TIMEOUT_MS: keep it within its group.min.session."
        "timeout.ms and group.max.session.timeout.ms (6 s and 30 min, if unset)"
    ),
    errors.InvalidTransactionTimeout: (
        "the cluster refuses WORKER_TRANSACTION_TIMEOUT_MS: keep it within its "
        "transaction.max.timeout.ms (15 min, if unset)"
    ),
}


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Stop `consumer`, which aiokafka may give up half-way.

    It awaits the fetches that it has cancelled, and that cancels whoever awaits, for no reason of
    theirs, where a broker is away; or it raises what ended the fetching. So it stops in a task of
    its own, and what that left open goes after it.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait({stopping})
    finally:
        stopping.cancel()
    await consumer._client.close()  # noqa: SLF001  (its last step, which it may not have come to)
    if not stopping.cancelled():
        stopping.result()


def line(error: BaseException) -> str:
    """The error in one line, with what to do where that is known."""
    text = " ".join(str(error).split()) or type(error).__name__
    for kind, hint in HINTS.items():
        if isinstance(error, kind):
            return hint.format(text=text, name=_name(error) or f"({text})")
    if isinstance(error, errors.KafkaError):
        said = " ".join(RuntimeError.__str__(error).split())  # its own begins with its name
        return ": ".join(filter(None, ["Kafka", type(error).__name__, said]))
    return text  # ours: written to be read


def _name(error: BaseException) -> str:
    """The topics, group or id that `error` is about; aiokafka gives a name, or a set of them.

    Of a partition it is the topic, which is what a right is granted on.
    """
    about = error.args[0] if error.args else ""
    if isinstance(about, TopicPartition):
        return str(about.topic)
    return ", ".join(sorted(about)) if isinstance(about, set) else str(about)
