"""Where models are kept: what goes wrong there, whichever library it is, and how it is shown."""

import re
import sys
from typing import Final

# What the libraries of stores raise beside OSError: (module, class).
FOREIGN: Final = (
    ("aiohttp", "ClientError"),  # http, gs
    ("azure.core.exceptions", "AzureError"),  # abfs
    ("botocore.exceptions", "BotoCoreError"),  # s3
    ("botocore.exceptions", "ClientError"),
    ("ftplib", "Error"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("httpx2", "HTTPError"),  # the Hugging Face hub
    ("huggingface_hub.errors", "RevisionResolutionError"),
    ("paramiko.ssh_exception", "SSHException"),  # sftp
)
PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def without_password(url: str) -> str:
    """A URL that may be shown: of `user:password@host` the user is left."""
    return PASSWORD.sub(r"\1@", url)


def errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """OSError, `others`, and what the libraries that are loaded raise; the rest raised nothing."""
    loaded = ((sys.modules.get(module), name) for module, name in FOREIGN)
    return OSError, *others, *(getattr(module, name) for module, name in loaded if module)
