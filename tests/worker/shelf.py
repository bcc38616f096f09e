"""A registry in a folder, with one promoted version."""

import hashlib
from pathlib import Path

from schemas import manifest
from schemas.emotion import EMOTIONS
from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion

NOW = "2024-05-01T12:00:00.123Z"


def promote(model: Path, root: Path) -> str:
    """Put `model` into a new registry, hashes and all; its spec."""
    stated = ModelManifest(
        name="maum",
        version="7",
        created_at=NOW,
        labels=list(EMOTIONS),
        files=manifest.build_files(model),
        parent=None,
        metrics={},
        settings={},
    )
    body = stated.model_dump_json().encode()
    (model / manifest.FILE_NAME).write_bytes(body)
    promotion = ModelPromotion(
        name="maum",
        version="7",
        alias="champion",
        uri=model.as_uri(),
        sha256=hashlib.sha256(body).hexdigest(),
        previous_version=None,
        promoted_at=NOW,
        metrics={},
    )
    (root / "aliases").mkdir()
    (root / "aliases" / "champion.json").write_text(promotion.model_dump_json())
    return f"registry:{root.as_uri()}#champion"
