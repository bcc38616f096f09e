"""Taking up a promoted model: hear of it, load and try it beside the serving one, swap."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.promotion import ModelPromotion
from worker import kafka, registry, topics
from worker.classifier import Classifier
from worker.config import ModelError
from worker.engines import EngineError, InferenceError
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

Loader = Callable[[ModelPromotion], Classifier]


def try_out(classifier: Classifier) -> None:
    """Run the canary texts through `classifier`. Raises InferenceError where it fails on one."""
    rows = [encoded.tokens for encoded in classifier.tokenize(CANARIES)]
    answers = len(classifier.run(classifier.prepare(rows)))
    if answers != len(rows):
        raise InferenceError(f"WrongShape: {answers} answers to {len(rows)} texts")


class Promotions:
    """Watches an alias of a registry; a bad model is refused and the old one serves on.

    One that cannot be fetched is tried again at each look.
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
        except FetchError as error:
            self._metrics.model_refusals.inc()
            log.warning(
                "promoted model cannot be fetched; the old one serves on until the next look",
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
        """Look at once when the models topic tells of a promotion; the poll is the safety net."""
        while True:
            with suppress(KafkaError):
                # A consumer knows of no topic but those it is assigned to, and might create it.
                if count := await topics.partitions(connection, topic):
                    await self._listen(connection, topic, count)
            await asyncio.sleep(self._poll_seconds)

    async def _listen(self, connection: dict[str, Any], topic: str, count: int) -> None:
        consumer = AIOKafkaConsumer(**connection, enable_auto_commit=False)
        try:
            await consumer.start()
            consumer.assign([TopicPartition(topic, number) for number in range(count)])
            await consumer.seek_to_end()
            async for _ in consumer:
                self._heard.set()
        finally:
            await kafka.stop(consumer)
