"""A device that is gone stops the worker, with nothing committed past what it answered."""

from typing import Any

import numpy as np
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from numpy.typing import NDArray

from tests.kafka.harness import Cluster, FakeEngine, Input, chat, classifier
from worker import parts, serve
from worker.engines import DeviceLostError
from worker.settings import KafkaSettings

pytestmark = pytest.mark.kafka


class Dying(FakeEngine):
    def run(self, prepared: Any) -> NDArray[np.float32]:  # noqa: ANN401
        if self.batches:
            raise DeviceLostError("CUDA error: unspecified launch failure")
        return super().run(prepared)


async def test_a_lost_device_is_exit_code_1_and_nothing_is_committed_past_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = cluster.settings(admin_port=0, max_batch_tokens=8)
    await cluster.create(settings, 1)
    await cluster.produce(settings.input_topic, [Input(chat(number)) for number in range(50)])
    monkeypatch.setattr(parts, "classifier", lambda *_: classifier(Dying()))
    kafka_settings = KafkaSettings(bootstrap_servers=cluster.servers, _env_file=None)
    assert await serve.run(kafka_settings, settings) == 1
    said = capsys.readouterr()
    assert "CUDA error: unspecified launch failure" in said.err + said.out
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.servers)
    await admin.start()
    committed = await admin.list_consumer_group_offsets(settings.group_id)
    await admin.close()
    assert sum(max(0, each.offset) for each in committed.values()) <= 4
