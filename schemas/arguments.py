"""Arguments of every command line here: a mistake in them is one line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end with exit code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")
