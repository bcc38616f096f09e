"""What a group has committed for a partition, read so that a take-over may rely on it.

aiokafka's own `committed()` does not do: it asks with a version that cannot wait for a transaction
which is being completed, and it takes an error of the whole answer (a coordinator that moved, or is
still loading) for "nothing is committed", from which a worker would begin the log anew.
"""

import asyncio
from time import monotonic
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v3
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

PATIENCE_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.1
NOTHING: Final = -1
# Loading, not available, not the coordinator, and (88) an open transaction's commit is pending.
PASSING: Final = frozenset({14, 15, 16, 88})
NO_TOPIC_RIGHT: Final = 29
NO_GROUP_RIGHT: Final = 30


class OffsetFetchResponse_v7(Response):  # type: ignore[misc]  # noqa: N801  (aiokafka is untyped; its names)
    """KIP-447."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequest_v7(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """The first version that can wait for pending commits."""

    FLEXIBLE_VERSION = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = OffsetFetchResponse_v7
    SCHEMA = Schema(
        ("group_id", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffsetFetch(Request[OffsetFetchRequest_v3 | OffsetFetchRequest_v7]):  # type: ignore[misc]
    """Stable offsets, where the broker knows how (Kafka 2.5 and newer)."""

    API_KEY = 9

    def __init__(self, group_id: str, partition: TopicPartition) -> None:
        self._group_id = group_id
        self._partition = partition

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401  (aiokafka's structs)
        """The request in the version that the broker speaks."""
        topic, number = self._partition
        if request_struct_class.API_VERSION < OffsetFetchRequest_v7.API_VERSION:
            return request_struct_class(self._group_id, [(topic, [number])])
        return request_struct_class(self._group_id, [(topic, [number], {})], True, {})  # noqa: FBT003


async def committed(client: AIOKafkaClient, group_id: str, partition: TopicPartition) -> int | None:
    """The committed offset; None only where the coordinator says that there is none.

    The coordinator is looked up anew: one that was deposed would answer from its memory. Raises
    KafkaError, after `PATIENCE_SECONDS` of errors that pass KafkaTimeoutError.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group_id)
        answer = await client.send(node, StableOffsetFetch(group_id, partition))
        offset, code = read(answer, partition)
        if not code:
            return None if offset == NOTHING else offset
        if code == NO_GROUP_RIGHT:
            raise GroupAuthorizationFailedError(group_id)
        if code == NO_TOPIC_RIGHT:
            raise TopicAuthorizationFailedError(partition.topic)
        if code not in PASSING:
            raise for_code(code)
        if monotonic() > deadline:
            raise KafkaTimeoutError(f"the group's offset is not to be had (error {code})")
        await asyncio.sleep(PAUSE_SECONDS)


def read(answer: Any, partition: TopicPartition) -> tuple[int, int]:  # noqa: ANN401  (aiokafka's structs)
    """Offset and error code of `partition` in an answer of either version."""
    if answer.error_code:
        return NOTHING, answer.error_code
    for topic, partitions, *_ in answer.topics:
        for number, offset, *rest in partitions:
            if (topic, number) == partition:
                return offset, rest[-2] if isinstance(rest[-1], dict) else rest[-1]
    raise KafkaError(f"the coordinator says nothing of {partition}")
