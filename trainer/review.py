"""Labels of people: the most valuable samples out, their labels in, or one key an emotion."""

import codecs
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from schemas.emotion import EMOTIONS
from trainer import dataset, history, stage
from trainer.dataset import DataError, Labelled
from worker.settings import SettingsError

if TYPE_CHECKING:
    from trainer.recipe import Recipe

KEYS: Final = {str(number): emotion for number, emotion in enumerate(EMOTIONS, start=1)}
# The same keys while the keyboard writes Hangul.
HANGUL: Final = {"ㄴ": "s", "ㅕ": "u", "ㅂ": "q"}
EXPORTS: Final = (".json", ".jsonl")
IMPORTS: Final = (".json", *dataset.KINDS)
HELP: Final = "  ".join(f"{key} {name}" for key, name in KEYS.items()) + "  s skip  u undo  q quit"

ANNOTATED: Final = "annotation_id"  # in each row of a flat export of Label Studio
CONTROL: Final = "emotion"  # what Label Studio calls our question

# Label Studio's project settings for the exported tasks.
LABEL_STUDIO: Final = "\n".join(
    [
        '<View><Text name="text" value="$text"/>',
        f'<Choices name="{CONTROL}" toName="text" choice="single" showInLine="true">',
        *(
            f'  <Choice value="{name}" hotkey="{number}"/>'
            for number, name in enumerate(EMOTIONS, start=1)
        ),
        "</Choices></View>",
    ]
)


class Ask(Protocol):
    """Shows a line and returns the key that was pressed."""

    def __call__(self, line: str) -> str:
        """One key."""


def rank(
    samples: Sequence[dict[str, Any]],
    opinions: dict[str, str],
    labelled: set[str],
    limit: int,
) -> list[dict[str, Any]]:
    """The most valuable first (pure), from three piles in turn.

    The random stratum, then of the low-margin one those on which the teacher (`opinions`: id →
    emotion) disagrees with the worker, the surest first, and the lowest margins. The random
    stratum is shuffled, what the newest model answered before the rest, and nothing else decides:
    were the likely mistakes, or one partition, labelled first, its labels would not stand for it.
    """
    left = [row for row in samples if row["id"] not in labelled]
    answers = ((row["classified_at"], row["model_version"]) for row in samples)
    newest = max(answers, default=("", ""))[1]
    random = sorted(
        (row for row in left if row["reason"] == "random"),
        key=lambda row: (row["model_version"] != newest, _shuffled(row["id"])),
    )
    unsure = sorted(
        (row for row in left if row["reason"] != "random"),
        key=lambda row: (row["margin"], row["id"]),
    )
    differing = [row for row in unsure if opinions.get(row["id"], row["emotion"]) != row["emotion"]]
    chosen: dict[str, dict[str, Any]] = {}
    piles = [
        iter(random),
        iter(sorted(differing, key=lambda row: -row["confidence"])),
        iter(unsure),
    ]
    while piles and len(chosen) < limit:
        for pile in list(piles):
            row = next((each for each in pile if each["id"] not in chosen), None)
            if row is None:
                piles.remove(pile)
            elif len(chosen) < limit:
                chosen[row["id"]] = row
    return list(chosen.values())


def _shuffled(name: str) -> bytes:
    """A place that says nothing of the sample, and is the same every time."""
    return blake2b(name.encode(), digest_size=8).digest()


def tasks(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Label Studio tasks, each with what the model says as a prediction.

    The sample's id stands there twice: in its flat exports a task's number replaces `id`.
    """
    return [
        {
            "data": {
                "text": row["text"],
                "id": row["id"],
                "sample_id": row["id"],
                "reason": row["reason"],
            },
            "predictions": [
                {
                    "model_version": f"{row['model_name']} {row['model_version']}",
                    "score": row["confidence"],
                    "result": [
                        {
                            "from_name": CONTROL,
                            "to_name": "text",
                            "type": "choices",
                            "value": {"choices": [row["emotion"]]},
                        }
                    ],
                }
            ],
        }
        for row in samples
    ]


def labels_of(exported: Sequence[dict[str, Any]], path: Path) -> list[Labelled]:
    """Labels from a Label Studio export, JSON or JSON-MIN. Raises DataError.

    Cancelled and empty answers are none; of several to a task the latest counts.
    """
    if not isinstance(exported, list):
        raise DataError(f"{path} is no list of tasks")
    if all(isinstance(each, dict) and ANNOTATED in each for each in exported):
        return flat_labels_of(exported, path)
    found = []
    for number, task in enumerate(exported, start=1):
        where = f"{path}: task {number}"
        try:
            data, emotion = task["data"], _answer(task["annotations"])
            if emotion:
                found.append(_labelled(data.get("sample_id") or data["id"], data, emotion, where))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(f"{where} is no task of ours with annotations") from None
    return found


def flat_labels_of(rows: Sequence[Mapping[str, Any]], path: Path) -> list[Labelled]:
    """Labels from Label Studio's JSON-MIN, CSV or TSV: a row an annotation. Raises DataError."""
    found = []
    for number, row in sorted(enumerate(rows, start=1), key=lambda each: _when(each[1])):
        if not row.get("sample_id"):
            raise DataError(
                f"{path}: row {number} has no sample_id, and its id is Label Studio's own number "
                "of the task: export the project as JSON instead"
            )
        if row.get(CONTROL):
            where = f"{path}: row {number}"
            found.append(_labelled(row["sample_id"], row, row[CONTROL], where))
    return found


def _answer(annotations: Sequence[Mapping[str, Any]]) -> str | None:
    """The latest choice. Raises AttributeError, KeyError, TypeError, ValueError."""
    given = sorted((each for each in annotations if not each.get("was_cancelled")), key=_when)
    said = [choice for each in given if (choice := _choice(each["result"]))]
    return said[-1] if said else None


def _choice(results: Sequence[Mapping[str, Any]]) -> str | None:
    """What was chosen, our question before others that a project may have added."""
    choices = [each for each in results if each.get("value", {}).get("choices")]
    if not choices:
        return None
    (emotion,) = min(choices, key=lambda each: each.get("from_name") != CONTROL)["value"]["choices"]
    return str(emotion)


def _when(annotation: Mapping[str, Any]) -> str:
    """When it was given: times of one export are written alike, and those without one tie."""
    return str(annotation.get("updated_at") or "")


def _labelled(name: object, data: Mapping[str, Any], emotion: object, where: str) -> Labelled:
    text = data.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has a label and no text")
    return Labelled(str(name), text, str(emotion))


def export(recipe: "Recipe", path: Path, limit: int) -> None:
    """Write the most valuable: Label Studio tasks (.json) or JSON Lines.

    Raises SettingsError for a file of another kind; DataError, StageError.
    """
    if path.suffix not in EXPORTS:
        raise SettingsError([f"{path}: the name must end in .json (Label Studio) or .jsonl"])
    chosen = _chosen(recipe, limit)
    if path.suffix == ".json":
        body = orjson.dumps(tasks(chosen), option=orjson.OPT_INDENT_2)
        with stage.writing(path):
            path.with_suffix(".xml").write_text(LABEL_STUDIO, encoding="utf-8")
    else:
        names = ("id", "text", "reason", "margin")
        rows = [{name: row[name] for name in names} | {"emotion": ""} for row in chosen]
        body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    with stage.writing(path):
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
    add(recipe.options.work, *found)
    left_out = f"; {golden} of them repeat golden texts, so nothing trains on them"
    recipe.say(f"review: {len(found)} labels taken in from {path}{left_out if golden else ''}")


def _of_json(path: Path) -> list[Labelled]:
    try:
        exported = orjson.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (OSError, orjson.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return labels_of(exported, path)


def _of_table(path: Path) -> list[Labelled]:
    rows = dataset.read_table(path)
    if ANNOTATED in rows[0]:
        if path.suffix == ".tsv":
            rows = [row | {"text": _unquoted(str(row.get("text", "")))} for row in rows]
        return flat_labels_of(rows, path)
    rows = [row for row in dataset.read_rows(path) if row.get("emotion")]
    return [Labelled(row["id"], row["text"], str(row["emotion"])) for row in rows]


def _unquoted(text: str) -> str:
    """A text as it was before Label Studio wrote its TSV; in files of ours nothing is quoted."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def add(work: Path, *rows: Labelled) -> None:
    """Keep labels, at once and for good, all or none; a later one of the same id counts instead.

    Raises StageError.
    """
    path = history.labels_file(work)
    lines = [
        orjson.dumps({"id": row.id, "text": row.text, "emotion": row.emotion}) + b"\n"
        for row in rows
    ]
    with stage.writing(path):
        work.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        stage.write_durably(path, before + b"".join(lines))  # half a line would spoil the file


def label(recipe: "Recipe", limit: int, ask: Ask | None = None) -> None:
    """Label in the terminal; goes on after what is labelled already.

    A run may start while somebody thinks; a label that is given meanwhile ends the session.

    Raises DataError, StageError.
    """
    work = recipe.options.work

    def keep(row: Labelled) -> None:
        with stage.alone(work):
            add(work, row)

    queue = _chosen(recipe, limit)
    done = session(queue, ask or one_key, keep, recipe.say)
    recipe.say(f"review: {done} labelled, {len(queue) - done} left")


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
                keep(Labelled(before["id"], before["text"], history.WITHDRAWN))
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


def _chosen(recipe: "Recipe", limit: int) -> list[dict[str, Any]]:
    work = recipe.options.work
    samples = [row for row in recipe.lineage.sources.all_samples() if row["text"].strip()]
    if not samples:
        raise DataError("no review samples: `python -m trainer collect` brings them")
    labelled = {row.id for row in history.labels(work)}
    return rank(samples, history.opinions(work), labelled, limit)
