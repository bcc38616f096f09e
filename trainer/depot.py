"""Where a registry lies: a folder over fsspec, on a disk or in an object store.

What is asked of it fails with one clear line. What changes it fails as the file system does: who
calls that knows what for, and says so (`in_one_line`).
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from trainer import stage
from worker import storage
from worker.settings import SettingsError


class RegistryError(Exception):
    """The registry cannot be used so; the message is one clear line, and the alias is unmoved."""


class Depot:
    """The folder at `url`, any fsspec URL; paths are those of its file system, below `root`."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError for a URL of no kind that is installed here, RegistryError."""
        self.files: Any  # fsspec is not annotated
        self._url = storage.without_password(url).rstrip("/")
        try:
            self.files, root = fsspec.core.url_to_fs(url)
        except (ImportError, TypeError, ValueError) as error:
            message = f"TRAINER_REGISTRY: {self._url} cannot be opened: {_line(error)}"
            raise SettingsError([message]) from error
        except storage.errors() as error:
            raise RegistryError(f"{self._url} cannot be opened: {_line(error)}") from error
        self.root = str(root).rstrip("/")

    def uri(self, path: str) -> str:
        """The URL of a path, as workers are told of it: without a password."""
        if "://" in self._url:  # a file system's own idea of it lacks the host of sftp, say
            return f"{self._url}{path.removeprefix(self.root)}"
        return str(self.files.unstrip_protocol(path))

    def exists(self, path: str) -> bool:
        """Whether something is there now. Raises RegistryError."""
        self._forget(path)
        with in_one_line(f"{path} cannot be looked for"):
            return bool(self.files.exists(path))

    def names(self, folder: str) -> list[str]:
        """What is in a folder; nothing where there is none. Raises RegistryError."""
        if not self.exists(folder):
            return []
        with in_one_line(f"{folder} cannot be listed"):
            found = self.files.ls(folder, detail=False)
        names = (str(path).rpartition("/")[2] for path in found)
        return [name for name in names if name]

    def below(self, folder: str) -> set[str]:
        """The paths of all files below a folder. Raises RegistryError."""
        with in_one_line(f"{folder} cannot be listed"):
            return {str(path) for path in self.files.find(folder)}

    def look(self, path: str) -> bytes | None:
        """What a file holds now; None where there is none. Raises RegistryError."""
        self._forget(path)
        with in_one_line(f"{path} cannot be read"), suppress(FileNotFoundError):
            return bytes(self.files.cat_file(path))
        return None

    def read(self, path: str) -> bytes:
        """What a file holds that has to be there. Raises RegistryError."""
        with in_one_line(f"{path} cannot be read"):
            return bytes(self.files.cat_file(path))

    def sha256(self, path: str) -> str:
        """The hash of a file's bytes, as they are now. Raises RegistryError."""
        self._forget(path)  # its size, too
        with in_one_line(f"{path} cannot be read"), self.files.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def upload(self, source: Path, path: str) -> None:
        """Copy a file of this machine to a path, whose folder need not be there."""
        self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(source), path)

    def write(self, path: str, body: bytes) -> None:
        """All of it or nothing: by renaming on a disk; in an object store one upload is one object.

        Not over sftp, ftp or smb, where fsspec writes in place.
        """
        self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._is_disk():
            self.files.pipe_file(path, body)
            return
        # Its name is its own: who took this trainer for dead may write there at the same time.
        partial = Path(f"{path}.{secrets.token_hex(4)}.partial")
        try:
            stage.write_durably(Path(path), body, partial)
        finally:
            partial.unlink(missing_ok=True)  # of a disk that is full
        for folder in Path(path).parent.parents:
            if folder.is_relative_to(self.root):
                stage.sync(folder)

    def sync(self, folder: str) -> None:
        """A folder and all below it, to the disk where it is on one."""
        if self._is_disk():
            stage.sync_all(Path(folder))

    def clear(self, folder: str) -> None:
        """Remove a folder and all below it, if it is there."""
        if self.files.exists(folder):
            self.files.rm(folder, recursive=True)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        if self.files.exists(path):
            self.files.rm_file(path)

    def _is_disk(self) -> bool:
        return isinstance(self.files, LocalFileSystem)

    def _forget(self, path: str) -> None:
        """What was listed before: another trainer may have written there since."""
        self.files.invalidate_cache(path)


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Turn what a file system may fail of into RegistryError: `what` is the case, and why."""
    try:
        yield
    except storage.errors() as error:
        raise RegistryError(f"{what}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
