"""Labels of people: the most valuable samples out, their labels in, or one key an emotion."""

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.emotion import EMOTIONS
from trainer import dataset, history, label_studio, labels, piles, stage, tables, terminal
from trainer.dataset import Labelled
from trainer.tables import DataError
from worker.settings import SettingsError

if TYPE_CHECKING:
    from trainer.recipe import Recipe

EXPORTS: Final = (".json", ".jsonl")
IMPORTS: Final = (".json", *tables.KINDS)
COLUMNS: Final = ("id", "text", "reason", "margin")  # of a file of ours, and `emotion` to fill in


def export(recipe: "Recipe", path: Path, limit: int) -> None:
    """Write the most valuable: Label Studio tasks (.json) or JSON Lines.

    Raises SettingsError for a file of another kind; DataError, StageError.
    """
    if path.suffix not in EXPORTS:
        raise SettingsError([f"{path}: the name must end in .json (Label Studio) or .jsonl"])
    chosen = _chosen(recipe, limit)
    with stage.writing(path):
        if path.suffix == ".json":
            path.with_suffix(".xml").write_text(label_studio.INTERFACE, encoding="utf-8")
            body = orjson.dumps(label_studio.tasks(chosen), option=orjson.OPT_INDENT_2)
        else:
            rows = [{name: row[name] for name in COLUMNS} | {"emotion": ""} for row in chosen]
            body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        path.write_bytes(body)
    recipe.say(f"review: {len(chosen)} samples → {path}")


def take_in(recipe: "Recipe", path: Path) -> None:
    """Add the labels of an export.

    Raises SettingsError for a file that is not there or of another kind; DataError, StageError.
    Nothing is added then.
    """
    if path.suffix not in IMPORTS:
        raise SettingsError([f"{path}: the name must end in one of {', '.join(IMPORTS)}"])
    if not path.is_file():
        raise SettingsError([f"{path} is no file"])
    found = _of_json(path) if path.suffix == ".json" else _of_table(path)
    if unknown := sorted({row.emotion for row in found} - set(EMOTIONS)):
        raise DataError(f"{path} has unknown labels: {', '.join(unknown)}")
    golden = sum(1 for _ in recipe.lineage.sources.firewall.overlaps(found))
    labels.add(recipe.options.work, *found)
    left_out = f"; {golden} of them repeat golden texts, so nothing trains on them"
    recipe.say(f"review: {len(found)} labels taken in from {path}{left_out if golden else ''}")


def label(recipe: "Recipe", limit: int, ask: terminal.Ask) -> None:
    """Label in the terminal; goes on after what is labelled already.

    A run may start while somebody thinks; a label that is given meanwhile ends the session.

    Raises DataError, StageError.
    """
    work = recipe.options.work

    def keep(row: Labelled) -> None:
        with stage.alone(work):
            labels.add(work, row)

    queue = _chosen(recipe, limit)
    done = terminal.session(queue, ask, keep, recipe.say)
    recipe.say(f"review: {done} labelled, {len(queue) - done} left")


def _chosen(recipe: "Recipe", limit: int) -> list[dict[str, Any]]:
    work = recipe.options.work
    samples = [row for row in recipe.lineage.sources.all_samples() if row["text"].strip()]
    if not samples:
        raise DataError("no review samples: `python -m trainer collect` brings them")
    labelled = {row.id for row in labels.read(work)}
    return piles.most_valuable(samples, history.opinions(work), labelled, limit)


def _of_json(path: Path) -> list[Labelled]:
    try:
        exported = orjson.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (OSError, orjson.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return label_studio.labels_of(exported, path)


def _of_table(path: Path) -> list[Labelled]:
    rows = tables.read(path)
    if label_studio.is_flat(rows):
        return label_studio.flat_labels_of(rows, path)
    rows = [row for row in dataset.read_rows(path) if row.get("emotion")]
    return [Labelled(row["id"], row["text"], str(row["emotion"])) for row in rows]
