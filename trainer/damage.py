"""Which stored file of a version is not as its manifest says, and how (pure)."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from schemas.manifest import FILE_NAME, ModelManifest


def find(
    stated: ModelManifest, folder: str, there: AbstractSet[str], sha256: Callable[[str], str]
) -> str | None:
    """The first such file; None where all are as stated.

    `there`: the paths of all files below `folder`; `sha256` hashes the file at a path, and is
    asked until one differs. A file that the manifest does not know counts: workers refuse the
    version for it. Raises what `sha256` raises.
    """
    files = {f"{folder}/{name}": expected for name, expected in stated.files.items()}
    if others := sorted(there - files.keys() - {f"{folder}/{FILE_NAME}"}):
        return f"{others[0]} is none of the files of {folder.rpartition('/')[2]}"
    for path, expected in files.items():
        if path not in there:
            return f"{path} is missing"
        if sha256(path) != expected:
            return f"{path} is damaged: it has not the hash that {FILE_NAME} states"
    return None
