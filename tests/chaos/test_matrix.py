"""Each cell of the fault matrix once, in small; `make chaos` plays them all at length."""

import logging
import secrets

import pytest

from deploy.kafka.cluster import Cluster
from tests.chaos.cells import CELLS, Cell
from tests.chaos.play import cluster_for, play

pytestmark = pytest.mark.apache

MESSAGES = 6000
BROKEN_TURNS = 3
SEED = secrets.token_hex(4)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    # The subscriber's and the feeder's complaints of what is done to their brokers on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    return str(request.config.getoption("--seed") or SEED)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
async def test_nothing_is_lost_repeated_or_out_of_order(
    cell: Cell, apache: Cluster | None, seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apache is not None, "run it by `make test-kafka`"
    if cell.long:
        pytest.skip("cells like it are played; this one is part of `make chaos`")
    # What is broken need not do harm each time: a worker may be frozen with nothing in hand.
    for turn in range(BROKEN_TURNS if cell.broken else 1):
        async with cluster_for(cell, apache) as brokers:
            result = await play(brokers, cell, MESSAGES, f"{seed}{'+' * turn}", short=True)
        with capsys.disabled():
            print(f"\n{result.line()}")  # noqa: T201  (what was counted)
        if not cell.broken:
            assert result.problems == [], f"seed {seed}"
        elif result.caught:
            return  # the verifier noticed
    assert not cell.broken, "the verifier did not notice"
