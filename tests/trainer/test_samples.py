"""A sample is kept once, whoever answered."""

import json
from types import SimpleNamespace

from trainer import samples

from .topic import sample


def test_another_answer_to_the_same_message_is_a_repeat() -> None:
    """As where the worker classified it once more, with another model."""
    again = json.dumps(json.loads(sample(1)) | {"classified_at": "2026-11-25T04:00:00.000Z"})
    records = [SimpleNamespace(value=value) for value in (sample(1), again.encode())]
    sifted = samples.sift(records, {})
    assert [row["id"] for row in sifted.samples] == ["chat-0-1"]
    assert (sifted.quarantine, sifted.repeats) == ([], 1)
