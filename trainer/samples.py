"""Records of the review topic → samples, each once, and what is malformed (pure)."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.review import ReviewSample
from trainer.stage import Numbers


@dataclass(frozen=True, slots=True)
class Sifted:
    """What is in so many `records`; the rest of them are tombstones."""

    records: int
    samples: list[dict[str, Any]]
    """Rows of a table; `id`: the event's, or another where another message has that one."""
    quarantine: list[dict[str, Any]]
    """Of each malformed record: its place, the reason, its bytes."""
    repeats: int

    @property
    def numbers(self) -> Numbers:
        """What there is to tell of it."""
        return {
            "records": self.records,
            "samples": len(self.samples),
            "repeats": self.repeats,
            "quarantined": len(self.quarantine),
            "low_margin": sum(each["reason"] == "low_margin" for each in self.samples),
        }


def sift(records: Sequence[ConsumerRecord], known: Mapping[str, str]) -> Sifted:
    """The samples, without repeats and tombstones; `known`: the `content` of ids kept already."""
    seen = dict(known)
    samples, quarantine, repeats = [], [], 0
    for record in records:
        if record.value is None:
            continue
        try:
            sample = ReviewSample.model_validate_json(record.value)
        except ValidationError as error:
            quarantine.append(_quarantined(record, error))
            continue
        row = _flat(sample)
        told = content(row)
        if seen.get(row["id"], told) != told:
            # Of an input topic that was made anew: another message has the same source.
            row["id"] += f"~{told}"
        if row["id"] in seen:
            repeats += 1
        else:
            seen[row["id"]] = told
            samples.append(row)
    return Sifted(len(records), samples, quarantine, repeats)


def content(row: Mapping[str, Any]) -> str:
    """Tells two messages apart, but not two answers to the same."""
    stated = orjson.dumps([row["message_id"], row["text"]])
    return blake2b(stated, digest_size=8).hexdigest()


def _flat(sample: ReviewSample) -> dict[str, Any]:
    fields = sample.model_dump(exclude={"model", "source", "scores", "schema_version"})
    return {
        "id": sample.event_id,
        **fields,
        "scores": list(sample.scores.values()),
        "model_name": sample.model.name,
        "model_version": sample.model.version,
    }


def _quarantined(record: ConsumerRecord, error: ValidationError) -> dict[str, Any]:
    mistakes = error.errors(include_input=False, include_url=False, include_context=False)
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in mistakes)
    return {
        "partition": record.partition,
        "offset": record.offset,
        "reason": told.removeprefix(": "),
        "value_base64": base64.b64encode(record.value).decode(),
    }
