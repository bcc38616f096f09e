"""The commands that talk to Kafka: run, topics, check."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from worker import kafka, logs, parts, promotions, reach, registry, topics, tracing
from worker.admin import Admin, Health
from worker.classifier import Classifier
from worker.codec import now_text
from worker.config import ModelError
from worker.consumer import KafkaSource
from worker.engines import DeviceLostError, EngineError, InferenceError
from worker.inference import HopelessError, Inference
from worker.kafka import KafkaProblemError
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.publisher import IdempotentPublisher, Publisher, TransactionalPublisher
from worker.settings import KafkaSettings, SettingsError, WorkerSettings

log = structlog.get_logger(__name__)

DONE: Final = 0
FAILED: Final = 1
BEAT_SECONDS: Final = 0.5
REACHABLE_SECONDS: Final = 10.0
PROBLEMS: Final = (
    KafkaError,
    KafkaProblemError,
    ModelError,
    EngineError,
    InferenceError,
    DeviceLostError,
    HopelessError,
)


async def run(kafka_settings: KafkaSettings, options: WorkerSettings) -> int:
    """Serve until SIGTERM or SIGINT. Exit code 0, or 1 after one clear line."""
    logs.configure(options.log_format, options.log_level)
    connection = kafka.connection(kafka_settings)
    metrics, health = Metrics(), Health(beat=monotonic())
    admin = _open_admin(options, health, metrics)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    serving = asyncio.create_task(serve(connection, options, metrics, health, stopped))
    stopping = asyncio.create_task(stopped.wait())
    failed = False
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await asyncio.wait({serving}, timeout=options.drain_seconds)
        if not serving.done():
            log.error("not finished in time; the next owner repeats what is uncommitted")
            serving.cancel()
            failed = True
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()
        elif not failed:
            log.error("stopped", reason="cancelled from within; start anew")
            failed = True
    except* PROBLEMS as group:
        # Partitions that met the same obstacle at once say it once.
        for reason in dict.fromkeys(kafka.line(error) for error in leaves(group)):
            log.error("stopped", reason=reason)  # noqa: TRY400  (one clear line)
        failed = True
    finally:
        stopping.cancel()
        if admin is not None:
            admin.close()
    if failed:
        return FAILED
    log.info("stopped")
    return DONE


async def serve(
    connection: dict[str, Any],
    options: WorkerSettings,
    metrics: Metrics,
    health: Health,
    stopped: asyncio.Event,
) -> None:
    """Load, join the group and work until `stopped`. Raises PROBLEMS, in groups."""
    traces = tracing.start(os.environ)
    starting = asyncio.ensure_future(_start(connection, options))
    waiting = asyncio.ensure_future(stopped.wait())
    beating = asyncio.create_task(_beat(health))
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return
        serving_hash, loaded = await starting
        # The model's libraries are hundreds of thousands of objects that stay: no collection, the
        # interpreter's last one least of all (seconds, after SIGTERM), need look at them.
        gc.collect()
        gc.freeze()
        inference = parts.inference(options, loaded, metrics)
        show(loaded, metrics, health)
        source = KafkaSource(connection, options)
        publisher: Publisher = (
            TransactionalPublisher(connection, options.group_id, options.transaction_timeout_ms)
            if options.delivery == "exactly_once"
            else IdempotentPublisher(connection, source.commit)
        )
        pipeline = Pipeline(source, publisher, inference, options, metrics, traces=traces)
        waiting.add_done_callback(lambda _: pipeline.stop())
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(_watch(pipeline, inference, health, metrics))]
            if options.model.startswith("registry:"):
                watcher = promotions.Promotions(
                    options.model,
                    lambda promotion: parts.promoted(options, promotion),
                    lambda new: swap(inference, new, metrics, health),
                    metrics,
                    options.model_poll_seconds,
                )
                helpers.append(group.create_task(watcher.run(serving_hash)))
                listening = watcher.listen(connection, options.models_topic)
                helpers.append(group.create_task(listening))
            await pipeline.run()
            for helper in helpers:
                helper.cancel()
    finally:
        starting.cancel()
        waiting.cancel()
        beating.cancel()
        await traces.stop()


async def _start(connection: dict[str, Any], options: WorkerSettings) -> tuple[str, Classifier]:
    """Load the model while Kafka is reached; both must succeed."""
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(asyncio.to_thread(_load, options))
        group.create_task(reach.reach(connection, options))
    return loading.result()


def _load(options: WorkerSettings) -> tuple[str, Classifier]:
    """The classifier, and the hash of the promotion that it came from."""
    if not options.model.startswith("registry:"):
        return "", parts.classifier(options)
    promotion = registry.read_alias(options.model)
    return promotion.sha256, parts.promoted(options, promotion)


async def _beat(health: Health) -> None:
    while True:
        health.beat = monotonic()
        await asyncio.sleep(BEAT_SECONDS)


async def _watch(
    pipeline: Pipeline, inference: Inference, health: Health, metrics: Metrics
) -> None:
    """Tell the admin port how the pipeline is."""
    was_ready = False
    while True:
        health.joined = pipeline.ready
        health.kafka_reachable = monotonic() - pipeline.reachable_at < REACHABLE_SECONDS
        health.device_busy_since = inference.busy_since
        ready = all(health.ready().values())
        metrics.ready.set(ready)
        if ready != was_ready:
            log.info("ready" if ready else "not ready", **health.ready())
            was_ready = ready
        await asyncio.sleep(0.1)


def show(loaded: Classifier, metrics: Metrics, health: Health) -> None:
    """Tell metrics, admin port and log which model serves."""
    engine, model = loaded.engine, loaded.model
    metrics.model_info.clear()
    metrics.model_info.labels(model.name, model.version, engine.name, engine.precision).set(1)
    health.model = {
        "name": model.name,
        "version": model.version,
        "engine": engine.name,
        "precision": engine.precision,
        "since": now_text(),
    }
    log.info("model serves", **health.model)


def swap(inference: Inference, new: Classifier, metrics: Metrics, health: Health) -> None:
    """Serve with `new` from the next batch on."""
    inference.swap(new)
    show(new, metrics, health)


def _open_admin(options: WorkerSettings, health: Health, metrics: Metrics) -> Admin | None:
    if not options.admin_port:
        return None
    try:
        return Admin(options.admin_host, options.admin_port, health, metrics.registry)
    except (OSError, OverflowError) as error:
        mistake = (
            f"WORKER_ADMIN_PORT: {options.admin_host}:{options.admin_port} cannot be used "
            f"({error}); choose another, or 0 for none"
        )
        raise SettingsError([mistake]) from error


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The single errors of a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def create_topics(
    kafka_settings: KafkaSettings, options: WorkerSettings, partitions: int | None, replication: int
) -> int:
    """Create what is missing, a line a topic.

    `partitions`: of each; None: as many as the input topic has, or `topics.PARTITIONS`.
    """
    logs.configure(options.log_format, options.log_level)
    connection = kafka.connection(kafka_settings)

    async def create() -> list[tuple[str, bool]]:
        count = partitions or await topics.partitions(connection, options.input_topic)
        wanted = topics.wanted(options, count or topics.PARTITIONS)
        return await topics.create(connection, wanted, replication)

    try:
        made = await reach.retrying(create, options.start_seconds, connection)
    except PROBLEMS as error:
        log.error("topics not created", reason=kafka.line(error))  # noqa: TRY400  (one clear line)
        return FAILED
    for name, new in made:
        print(f"{name}: {'created' if new else 'exists'}")  # noqa: T201  (the command's answer)
    return DONE


async def check(kafka_settings: KafkaSettings, options: WorkerSettings) -> int:
    """Try everything a start needs, a line each; 0 if all of it works."""
    logs.configure(options.log_format, options.log_level)
    connection = kafka.connection(kafka_settings)
    results = await asyncio.gather(
        reach.reach(connection, options), asyncio.to_thread(_load, options), return_exceptions=True
    )
    failed = False
    for name, result in zip(("kafka", "model"), results, strict=True):
        if isinstance(result, PROBLEMS):
            failed = True
            print(f"{name}: {kafka.line(result)}")  # noqa: T201
        elif isinstance(result, BaseException):
            raise result
        elif result is None:
            servers = kafka_settings.bootstrap_servers
            print(f"kafka: {servers} answers, its topics are there")  # noqa: T201
        else:
            model, engine = result[1].model, result[1].engine
            print(f"model: {model.name} {model.version} on {engine.name}, {engine.precision}")  # noqa: T201
    print("settings: fine")  # noqa: T201
    return FAILED if failed else DONE
