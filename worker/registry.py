"""Where models come from: a folder, the Hugging Face hub, or a registry with aliases.

A registry is any fsspec URL: `aliases/{alias}.json` holds the ModelPromotion that moved the alias,
its `uri` the folder of an immutable version with a `manifest.json`.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas import manifest
from schemas.manifest import ModelManifest
from schemas.promotion import ModelPromotion
from worker import hub, storage, whole
from worker.classifier import ModelId, cache_dir
from worker.config import ModelError
from worker.engines import first_line

FILES: Final = ["*.json", "*.safetensors", "vocab.txt", "merges.txt"]  # never pickles or code


class FetchError(ModelError):
    """The version cannot be fetched now; that says nothing of the model, and later it may be."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model on this machine's disk, checked against its manifest where it has one."""

    folder: Path
    model: ModelId


def resolve(spec: str, cache: Path | None = None) -> Resolved:
    """Find the model that `spec` names. Raises ModelError with one clear line."""
    if spec.startswith("registry:"):
        return fetch(read_alias(spec), cache)
    folder = hub.folder(spec)
    if folder:
        return _from_folder(folder)
    if hub.ID.fullmatch(spec) and "/" in hub.split(spec)[0]:
        return _from_hub(spec)
    raise ModelError(f"{spec} is no folder, no Hugging Face id and no registry:URL#alias")


def read_alias(spec: str) -> ModelPromotion:
    """The promotion that `registry:URL#alias` points at now. Raises ModelError."""
    import fsspec  # noqa: PLC0415  (lazy: only registries need it)

    url, _, alias = spec.removeprefix("registry:").partition("#")
    path = f"{url.rstrip('/')}/aliases/{alias or 'champion'}.json"
    try:
        with fsspec.open(path, "rb") as file:
            return ModelPromotion.model_validate_json(file.read())
    except storage.errors(ValueError, TypeError, ImportError) as error:
        shown = storage.without_password(path)
        raise ModelError(f"the alias {shown} cannot be read: {first_line(error)}") from error


def fetch(promotion: ModelPromotion, cache: Path | None = None) -> Resolved:
    """Download the promoted version, unless it is here, and check every hash.

    Raises ModelError, and FetchError where a disk or a network fails.
    """
    folder = (cache or cache_dir()) / "models" / promotion.sha256
    model = ModelId(promotion.name, promotion.version)
    if folder.is_dir():
        try:
            _check(folder, promotion.sha256)
        except ModelError:
            shutil.rmtree(folder, ignore_errors=True)  # spoilt since it was checked: once more
        else:
            return Resolved(folder, model)
    _download(promotion, folder)
    return Resolved(folder, model)


def _download(promotion: ModelPromotion, folder: Path) -> None:
    """Beside `folder` first, so that what stands there is always whole and checked."""
    try:
        with whole.making(folder) as partial:
            _get(promotion, partial)
    except OSError as error:
        raise FetchError(f"{folder.parent} cannot be written: {error.strerror}") from error


def _get(promotion: ModelPromotion, folder: Path) -> None:
    import fsspec  # noqa: PLC0415  (lazy: only registries need it)

    try:
        filesystem, path = fsspec.core.url_to_fs(promotion.uri)
        filesystem.get(f"{path.rstrip('/')}/", f"{folder}/", recursive=True)
        _check(folder, promotion.sha256)
    except storage.errors() as error:
        raise FetchError(f"{promotion.uri} cannot be fetched: {first_line(error)}") from error
    except (ValueError, TypeError, ImportError) as error:
        raise ModelError(f"{promotion.uri} cannot be fetched: {first_line(error)}") from error


def _check(folder: Path, sha256: str) -> None:
    path = folder / manifest.FILE_NAME
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{folder} has no readable {manifest.FILE_NAME}") from error
    if found != sha256:
        raise ModelError(f"{path} has the hash {found[:12]}…, expected {sha256[:12]}…")
    _verified(folder)


def _verified(folder: Path) -> ModelManifest:
    try:
        stated = ModelManifest.model_validate_json((folder / manifest.FILE_NAME).read_bytes())
        differences = manifest.verify(folder, stated)
    except ValidationError as error:
        raise ModelError(f"{folder / manifest.FILE_NAME} is no model manifest") from error
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {first_line(error)}") from error
    if differences:
        raise ModelError(f"{folder} differs from its manifest: {differences[0]}")
    return stated


def _from_folder(folder: Path) -> Resolved:
    if (folder / manifest.FILE_NAME).exists():
        stated = _verified(folder)
        return Resolved(folder, ModelId(stated.name, stated.version))
    try:
        version = _weights_hash(folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {first_line(error)}") from error
    return Resolved(folder, ModelId(folder.resolve().name, version))


def _from_hub(spec: str) -> Resolved:
    folder = hub.fetch(spec, FILES)
    name, _ = hub.split(spec)
    return Resolved(folder, ModelId(name, folder.name))  # a snapshot's folder is its commit


def _weights_hash(folder: Path) -> str:
    """Version of a model without a manifest: a hash of what decides its answers."""
    digest = hashlib.sha256()
    for path in sorted(path for kind in FILES for path in folder.glob(kind)):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
