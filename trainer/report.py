"""What a run did and why, written where people look: HTML and Markdown beside the facts."""

from pathlib import Path
from typing import Final

from trainer import facts, history, markdown, page, stage
from trainer.facts import Facts
from trainer.tables import DataError

HTML: Final = "report.html"
MARKDOWN: Final = "report.md"


def render_last(work: Path) -> Path:
    """Write HTML and Markdown of the last finished run; their folder.

    Raises DataError, StageError.
    """
    runs = history.read(work)
    if not runs:
        raise DataError(f"no run has finished in {work} yet: nothing to report")
    return render(work, facts.read(facts.folder(work, Path(runs[-1].student).name)))


def render(work: Path, found: Facts) -> Path:
    """Write HTML and Markdown of a run; their folder. Raises StageError, FontError."""
    folder = facts.folder(work, found.student)
    with stage.writing(folder):
        (folder / HTML).write_text(page.page(found), encoding="utf-8")
        (folder / MARKDOWN).write_text(markdown.markdown(found), encoding="utf-8")
    return folder
