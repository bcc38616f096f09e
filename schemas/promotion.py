"""The trainer's announcement: which version of a model serves from now on."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from schemas.instant import UtcText
from schemas.manifest import ModelName, ModelVersion, Sha256
from schemas.record import Record


class ModelPromotion(Record):
    """An alias was moved to a version. The record's key is ``name``, so the newest survives."""

    schema_version: Literal[1] = 1
    name: ModelName
    version: ModelVersion
    alias: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Such as `champion`."""
    uri: Annotated[str, StringConstraints(min_length=1)]
    """Where the version lies: any fsspec URL, without credentials."""
    sha256: Sha256
    """The SHA-256 of the bytes of the version's `manifest.json`."""
    previous_version: ModelVersion | None
    """What the alias pointed at before."""
    promoted_at: UtcText
    """RFC 3339, UTC, milliseconds."""
    metrics: dict[str, float]
    """What the promotion was decided on."""
