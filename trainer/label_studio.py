"""Label Studio: our samples as its tasks, and the labels in what it exports (pure)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.emotion import EMOTIONS
from trainer.dataset import Labelled
from trainer.tables import DataError

ANNOTATED: Final = "annotation_id"  # in each row of a flat export
CONTROL: Final = "emotion"  # what it calls our question

# The project's settings for our tasks.
INTERFACE: Final = "\n".join(
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


def labels_of(exported: object, path: Path) -> list[Labelled]:
    """Labels from a Label Studio export, JSON or JSON-MIN. Raises DataError.

    Cancelled and empty answers are none; of several to a task the latest counts.
    """
    if not isinstance(exported, list):
        raise DataError(f"{path} is no list of tasks")
    if is_flat(exported):
        return flat_labels_of(exported, path)
    found = []
    for number, task in enumerate(exported, start=1):
        where = f"{path}: task {number}"
        try:
            data, emotion = task["data"], _answer(task["annotations"])
            if emotion:
                name = data.get("sample_id") or data["id"]
                found.append(_labelled(name, data.get("text"), emotion, where))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(f"{where} is no task of ours with annotations") from None
    return found


def is_flat(rows: Sequence[object]) -> bool:
    """Whether these are rows of a flat export, one an annotation."""
    return all(isinstance(each, dict) and ANNOTATED in each for each in rows)


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
            text = row.get("text")
            if path.suffix == ".tsv" and text:
                text = _unquoted(text)
            where = f"{path}: row {number}"
            found.append(_labelled(row["sample_id"], text, row[CONTROL], where))
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


def _labelled(name: object, text: object, emotion: object, where: str) -> Labelled:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has a label and no text")
    return Labelled(str(name), text, str(emotion))


def _unquoted(text: str) -> str:
    """A text as it was before Label Studio wrote its TSV; in files of ours nothing is quoted."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text
