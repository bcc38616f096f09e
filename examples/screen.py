"""What the demo shows: a spinner on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from examples.tally import Tally
from schemas.emotion import EMOTIONS

COLOURS: Final[dict[str, str]] = dict(
    zip(EMOTIONS, ("red", "yellow", "blue", "green", "magenta", "cyan"), strict=True)
)
ROOM_CELLS: Final = 12
TEXT_CELLS: Final = 64
REST_CELLS: Final = 38  # the other columns
BAR_CELLS: Final = 50


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._console = Console(force_terminal=self._terminal, highlight=False)
        room = self._console.width - REST_CELLS if self._terminal else TEXT_CELLS
        self._text_cells = min(TEXT_CELLS, max(20, room))

    def say(self, line: str | Text = "") -> None:
        """Print one line as it is."""
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that something is being done, and then how long it took."""
        started = time.monotonic()
        with self._console.status(f"{doing} …") if self._terminal else nullcontext():
            yield
        self.say(f"{doing}: {time.monotonic() - started:.1f} s")

    def event(self, room: str, text: str, emotion: str, confidence: float, mark: str) -> None:
        """One message and its emotion."""
        verdict = Text.assemble((f"{emotion} {confidence:.2f}", COLOURS[emotion]), (mark, "dim"))
        self._row(room, text, verdict)

    def dead_letter(self, room: str, text: str, reason: str) -> None:
        """One record that could not be read, and why."""
        self._row(room, text, Text(f"dead letter: {reason}", "bold red"))

    def summary(self, tally: Tally) -> None:
        """Everything counted."""
        self.say()
        most = max(tally.emotions.values(), default=1)
        for emotion in EMOTIONS:
            count = tally.emotions[emotion]
            bar = ("█" * round(BAR_CELLS * count / most), COLOURS[emotion])
            self.say(Text.assemble(f"{emotion} {count:4}  ", bar))
        self.say()
        if tally.sent.keys() & tally.seen.keys():
            p50, p99 = tally.latency_ms(0.50), tally.latency_ms(0.99)
            self.say(f"{len(tally.sent)} records sent, {tally.rate():.1f} results a second")
            self.say(f"produce to visible (read_committed): p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        self.say(
            f"{tally.emotions.total()} events ({tally.low_margin} low margin), "
            f"{tally.reviews} for review, {len(tally.dead)} dead letters"
        )
        self.say("; ".join(tally.faults()) or "exactly one result for every record")

    def _row(self, room: str, text: str, verdict: Text) -> None:
        """Columns by cells: a Hangul syllable takes two."""
        if cell_len(text) > self._text_cells:
            text = set_cell_size(text, self._text_cells - 1).rstrip() + "…"
        columns = (
            (set_cell_size(room, ROOM_CELLS), "dim"),
            set_cell_size(text, self._text_cells + 1),
        )
        self.say(Text.assemble(*columns, verdict))
