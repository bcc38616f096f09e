"""A student that passed the gate → the alias that workers follow, and the record that tells."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.instant import datetime_text
from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from trainer import publish, versions
from trainer.depot import RegistryError
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import config, kafka, reach
from worker.config import ModelError
from worker.kafka import KafkaProblemError

TOLD: Final = {
    "student",
    "teacher",
    "selection",
    "seed",
    "epochs",
    "student_learning_rate",
    "settle_weights",
}


class AnnounceError(Exception):
    """The alias was moved, but Kafka could not be told: workers see it at their next look."""


def promote(
    model: Path, stated: ModelManifest, options: TrainerSettings, *, expected: str | None
) -> ModelPromotion:
    """Put the version into the registry and move the alias from `expected` to it.

    Where nothing is expected, an alias that cannot be made out is written anew. Raises
    RegistryError; the alias is unmoved then.
    """
    store = Registry(options.registry, options.name)
    with store.alone():
        store.versions.put(model, stated)
        standing = store.alias(options.alias, mending=expected is None)
        if standing and standing.version == expected:
            # A rollback that was killed before it moved the alias decided nothing.
            store.reinstate(options.alias, standing.version)
        return store.move(
            options.alias, stated.version, expected=expected, metrics=stated.metrics, now=_now()
        )


def mend(model: Path, stated: ModelManifest, options: TrainerSettings) -> None:
    """Write the version that serves already anew, if it is damaged. Raises RegistryError."""
    store = Registry(options.registry, options.name)
    with store.alone():
        store.versions.put(model, stated)


def state(
    model: Path,
    options: TrainerSettings,
    *,
    made_at: str,
    metrics: Mapping[str, float],
    parent: str | None = None,
) -> ModelManifest:
    """The manifest of what `publish` left: what it is, and what it was made with.

    `parent`: what a model is that was not made here. Raises RegistryError.
    """
    try:
        labels = config.read_labels(config.read_config(model), model)
    except ModelError as error:
        raise RegistryError(str(error)) from error
    told = {} if parent else options.model_dump(mode="json", include=TOLD)
    return versions.state(
        model,
        options.name,
        labels=labels,
        made_at=made_at,
        parent=parent or options.student,
        metrics=metrics,
        settings=told,
        int8=publish.int8(model),
    )


def rollback(options: TrainerSettings, version: str | None = None) -> ModelPromotion:
    """Point the alias at `version`, or at what it pointed at before. Raises RegistryError.

    What it pointed at is withdrawn: the gate promotes it no more. Done again, as after a failure
    to tell Kafka, it changes nothing: without a `version` it never goes on to a withdrawn one.
    With one, an alias that cannot be made out is written anew.
    """
    store, alias = Registry(options.registry, options.name), options.alias
    with store.alone():
        standing = store.alias(alias, mending=version is not None)
        if standing is None and version is None:
            raise RegistryError(f"{alias} points at nothing yet: nothing to roll back")
        there = standing.version if standing else None
        back_to = version or (standing.previous_version if standing else None)
        if back_to is None:
            raise RegistryError(f"{there} is the first that {alias} pointed at")
        again = version is None and store.is_withdrawn(alias, back_to)
        if standing and (again or back_to == there):
            return standing
        store.versions.require(back_to)
        if there:
            store.withdraw(alias, there)  # first: once the alias has moved nothing tells of it
        store.reinstate(alias, back_to)
        return store.move(alias, back_to, expected=there, metrics={}, now=_now())


def announce(
    promotion: ModelPromotion, connection: dict[str, Any], options: TrainerSettings
) -> None:
    """Publish the promotion; the record's key is the model's name. Raises AnnounceError."""

    async def send() -> None:
        producer = AIOKafkaProducer(**connection, enable_idempotence=True)
        try:
            await reach.retrying(producer.start, options.kafka_seconds, connection)
            async with asyncio.timeout(options.kafka_seconds):
                await producer.send_and_wait(
                    options.models_topic,
                    promotion.model_dump_json().encode(),
                    key=promotion.name.encode(),
                )
        finally:
            await producer.stop()

    try:
        asyncio.run(send())
    except (KafkaError, KafkaProblemError, TimeoutError) as error:
        told = (
            f"not taken in {options.kafka_seconds:g} s; is the topic there? `python -m worker "
            "topics` creates what is missing"
            if isinstance(error, TimeoutError)
            else kafka.line(error)
        )
        raise AnnounceError(
            f"{promotion.alias} points at {promotion.version} now, but {options.models_topic} "
            f"could not be told ({told}); workers see it at their next look at the alias"
        ) from error


def _now() -> str:
    return datetime_text(datetime.now(UTC))
