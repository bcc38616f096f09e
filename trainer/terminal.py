"""Labelling in the terminal: a text is shown, and one key is its label."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.emotion import EMOTIONS
from trainer.dataset import Labelled
from trainer.labels import WITHDRAWN

KEYS: Final = {str(number): emotion for number, emotion in enumerate(EMOTIONS, start=1)}
# The same keys while the keyboard writes Hangul.
HANGUL: Final = {"ㄴ": "s", "ㅕ": "u", "ㅂ": "q"}
HELP: Final = "  ".join(f"{key} {name}" for key, name in KEYS.items()) + "  s skip  u undo  q quit"

Ask = Callable[[str], str]  # shows a line and returns the key that was pressed


def session(
    queue: Sequence[dict[str, Any]],
    ask: Ask,
    keep: Callable[[Labelled], None],
    say: Callable[[str], None],
) -> int:
    """Go through `queue`; how many were labelled. Each label is kept at once; `u` takes it back."""
    say(HELP)
    place = 0
    labelled: set[str] = set()
    while place < len(queue):
        row = queue[place]
        key = ask(f"[{place + 1}/{len(queue)}] {row['text']}\n> ").lower()
        key = HANGUL.get(key, key)
        if key == "q":
            break
        if key == "u" and place:
            place -= 1
            before = queue[place]
            if before["id"] in labelled:
                labelled.remove(before["id"])
                keep(Labelled(before["id"], before["text"], WITHDRAWN))
        elif key == "s":
            place += 1
        elif key in KEYS:
            keep(Labelled(row["id"], row["text"], KEYS[key]))
            labelled.add(row["id"])
            place += 1
        else:
            say(HELP)
    return len(labelled)


def one_key(line: str) -> str:
    """A key from the terminal, without Enter; a line's first letter where it is none."""
    sys.stdout.write(line)
    sys.stdout.flush()
    if not sys.stdin.isatty():
        return (sys.stdin.readline() or "q").strip()[:1]
    import termios  # noqa: PLC0415  (not everywhere)
    import tty  # noqa: PLC0415

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)  # what was typed ahead counts
        key = sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    sys.stdout.write(f"{key}\n")
    return key
