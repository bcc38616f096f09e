"""Taking up a promoted model: hear of it, load and try it beside the serving one, swap."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.promotion import ModelPromotion
from worker import kafka, reach, registry, topics
from worker.classifier import Classifier
from worker.config import ModelError
from worker.engines import EngineError, InferenceError
from worker.limits import TooLargeError
from worker.metrics import Metrics
from worker.registry import FetchError

log = structlog.get_logger(__name__)

CANARIES: Final = (
    "오늘 진짜 최고였어",
    "왜 약속을 안 지켜 짜증나게",
    "내일 발표인데 떨려서 잠이 안 와",
    "ㅇㅇ",
    "ㅋㅋㅋㅋㅋㅋ",
    "",
    "네 알겠습니다 3시에 뵙겠습니다",
    "𐎀𐎅 ꙮ",  # in no vocabulary: some tokenizers fail on what they don't know
)

FIRST_PAUSE: Final = 1.0  # seconds before the models topic is looked for again, doubling up to
LONGEST_PAUSE: Final = 30.0

Loader = Callable[[ModelPromotion], Classifier]


def try_out(classifier: Classifier) -> None:
    """Run the canary texts through `classifier`. Raises InferenceError where it fails on one."""
    rows = [encoded.tokens for encoded in classifier.tokenize(CANARIES)]
    answers = len(classifier.run(classifier.prepare(rows)))
    if answers != len(rows):
        raise InferenceError(f"WrongShape: {answers} answers to {len(rows)} texts")


class Promotions:
    """Watches an alias of a registry; a bad model is refused and the old one serves on.

    One that cannot be fetched, or has no room now, is tried again at each look, and a refused one
    once it is told of again.
    """

    def __init__(
        self,
        spec: str,
        load: Loader,
        swap: Callable[[Classifier], None],
        metrics: Metrics,
        poll_seconds: float,
    ) -> None:
        """`spec` is `registry:URL#alias`; `load` blocks and runs in a thread."""
        self._spec = spec
        self._load = load
        self._swap = swap
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._heard = asyncio.Event()
        self._refused: str | None = None  # hash of the version refused last
        self._told: str | None = None  # why promotions are not heard of

    async def run(self, serving: str) -> None:
        """Watch for ever. `serving` is the hash of the version that serves now."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._heard.wait()
            self._heard.clear()
            serving = await self._look(serving)

    async def _look(self, serving: str) -> str:
        try:
            promotion = await asyncio.to_thread(registry.read_alias, self._spec)
        except ModelError as error:
            log.warning("the registry cannot be read; the old model serves on", error=str(error))
            return serving
        if promotion.sha256 in {serving, self._refused}:
            return serving
        try:
            classifier = await asyncio.to_thread(self._take_up, promotion)
        except (FetchError, TooLargeError) as error:
            self._metrics.model_refusals.inc()
            log.warning(
                "promoted model cannot be had now; the old one serves on until the next look",
                version=promotion.version,
                error=str(error),
            )
            return serving
        except (ModelError, EngineError, InferenceError) as error:
            self._refused = promotion.sha256
            self._metrics.model_refusals.inc()
            log.error(  # noqa: TRY400  (a refusal is one line, no traceback)
                "promoted model refused; the old one serves on",
                version=promotion.version,
                error=str(error),
            )
            return serving
        self._swap(classifier)
        log.info("model swapped", name=promotion.name, version=promotion.version)
        return promotion.sha256

    def _take_up(self, promotion: ModelPromotion) -> Classifier:
        classifier = self._load(promotion)
        try_out(classifier)
        return classifier

    async def listen(self, connection: dict[str, Any], topic: str) -> None:
        """Look at once when the models topic tells of a promotion; the poll is the safety net.

        Where the topic is missing or may not be read, one line says so, and it is tried again.
        """
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        failed, self._told = False, topics.absent([topic])  # that, at a start, `reach` has said
        while True:
            began = clock()
            try:
                # A consumer knows of no topic but those it is assigned to, and might create it.
                count = await topics.partitions(connection, topic)
                if count is None:
                    self._tell(topics.absent([topic]))
                else:
                    await self._listen(connection, topic, count, late=failed)
            except kafka.FATAL as error:
                self._tell(kafka.line(error))
            except KafkaError:
                log.debug("models topic: Kafka does not answer; trying again", exc_info=True)
            failed = True
            if clock() - began > LONGEST_PAUSE:  # it listened for a while: this is another failure
                pause, self._told = FIRST_PAUSE, None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _tell(self, reason: str) -> None:
        """Once, for as long as it stays the same."""
        if reason != self._told:
            self._told = reason
            log.warning(reach.UNHEARD, reason=reason, poll_seconds=self._poll_seconds)

    async def _listen(
        self, connection: dict[str, Any], topic: str, count: int, *, late: bool
    ) -> None:
        """Until something fails. `late`: something may have been told that nobody heard."""
        consumer = AIOKafkaConsumer(**connection, enable_auto_commit=False)
        try:
            await consumer.start()
            consumer.assign([TopicPartition(topic, number) for number in range(count)])
            await consumer.seek_to_end()
            if late:
                self._heard.set()
            async for _ in consumer:
                self._refused = None  # told of again, it may have been mended
                self._heard.set()
        finally:
            await kafka.stop(consumer)
