"""Folders of the cache: there whole or not at all, whoever else makes them at the same time."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Final

TAKEN: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY})  # as systems say it of a folder


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to fill, which takes its place where the block ends in order.

    What another process has put there meanwhile stays. Everybody who may read the parent may read
    it, as the umask leaves it: a cache may be filled by one user and used by another.

    Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{token_hex(8)}")
    partial.mkdir()
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
