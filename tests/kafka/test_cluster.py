"""Three brokers that are started by hand: `make kafka-up` and `make kafka-down`."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from tests.kafka import verifier
from tests.kafka.harness import Cluster

pytestmark = [pytest.mark.apache, pytest.mark.timeout(900)]  # it starts and stops brokers twice

ROOT: Final = Path(__file__).parents[2]


async def kafka(command: str, folder: Path) -> str:
    """What the command says, without an error."""
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.kafka", command, "--data-dir", str(folder)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, complaints = await ran.communicate()
    assert ran.returncode == 0, complaints.decode()
    return said.decode()


async def test_brokers_started_by_hand_stay_and_keep_their_records_until_they_are_stopped(
    tmp_path: Path,
) -> None:
    try:
        said = await kafka("up", tmp_path)
        servers = said.splitlines()[-1].removeprefix("KAFKA_BOOTSTRAP_SERVERS=")
        assert len(servers.split(",")) == 3
        cluster = Cluster(servers)
        settings = cluster.settings()
        await cluster.create(settings, 1)
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            await producer.send_and_wait(settings.input_topic, b"kept")
        assert await kafka("up", tmp_path) == f"runs already: KAFKA_BOOTSTRAP_SERVERS={servers}\n"
        assert "the records stay" in await kafka("down", tmp_path)
        assert "nothing runs" in await kafka("down", tmp_path)
        servers = (await kafka("up", tmp_path)).splitlines()[-1].partition("=")[2]
        (record,) = await verifier.read(servers, settings.input_topic)
        assert record.value == b"kept"
    finally:
        await kafka("down", tmp_path)
