"""Pseudo-labels → a training set by each policy: none, the seed's, the calibrated one."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from schemas.emotion import EMOTIONS
from trainer import drift, leakage, predict, select, tables
from trainer.dataset import Labelled, Pseudo
from trainer.select import Example
from trainer.settings import TrainerSettings
from trainer.stage import Numbers
from trainer.tables import DataError

SLACK: Final = 1e-3  # that the shares of a target may be away from a sum of 1


def choose(  # noqa: PLR0913  (what there is to choose from, and how)
    rows: Sequence[Pseudo],
    people: Sequence[Labelled],
    held_out: Sequence[Labelled],
    *,
    replayed: Collection[str],
    samples: Sequence[Mapping[str, Any]],
    teacher: Path,
    folder: Path,
    options: TrainerSettings,
) -> Numbers:
    """Write none.parquet, seed.parquet, calibrated.parquet and policy.json into `folder`.

    A text that people labelled, held out or not, is not believed to be what the teacher says. A
    row without scores is for the seed's filter alone: there is nothing to calibrate. Nothing here
    looks for golden texts: who calls it has kept them out.
    """
    human = select.human(people)
    said = {leakage.normal(row.text) for row in (*people, *held_out)}
    free = [row for row in rows if leakage.normal(row.text) not in said]
    plain = select.seed_filter(free, options.min_confidence, options.min_margin)
    policy = learned(held_out, rows, samples, teacher, options)
    careful = select.calibrated_filter([row for row in free if row.scores], policy)
    sets = {
        "none": human,
        "seed": select.mix(
            human,
            *parts(plain, replayed, soft=False),
            human_share=0.0,
            replay_share=1.0,
            seed=options.seed,
        ),
        "calibrated": select.mix(
            human,
            *parts(careful, replayed, soft=True),
            human_share=options.human_share,
            replay_share=options.replay_share,
            seed=options.seed,
        ),
    }
    for name, chosen in sets.items():
        write_examples(folder / f"{name}.parquet", chosen)
    told = {
        "temperature": policy.heat,
        "thresholds": policy.thresholds,
        "quota": policy.quota,
        "accepted": {
            "seed": Counter(row.pred_emotion for row in plain),
            "calibrated": Counter(row.pred_emotion for row in careful),
        },
    }
    (folder / "policy.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return {
        "offered": len(rows),
        "labelled_by_people": len(rows) - len(free),
        "seed_accepted": len(plain),
        "calibrated_accepted": len(careful),
        "temperature": policy.heat,
        **{f"{name}_rows": len(chosen) for name, chosen in sets.items()},
    }


def learned(
    held_out: Sequence[Labelled],
    rows: Sequence[Pseudo],
    samples: Sequence[Mapping[str, Any]],
    teacher: Path,
    options: TrainerSettings,
) -> select.Policy:
    """The calibrated policy, from labels that the teacher was not fitted to."""
    classifier, budget = predict.load(teacher, options.max_length, options.threads)
    found = predict.predict(
        classifier, [row.text for row in held_out], budget, title="select", quiet=False
    )
    labels = np.array([EMOTIONS.index(row.emotion) for row in held_out], dtype=np.int64)
    # Without random samples the pseudo-labels themselves are the best guess of the prior.
    known = samples if any(row["reason"] == "random" for row in samples) else ()
    emotions = [row["emotion"] for row in known] or [row.pred_emotion for row in rows]
    inclusion = [float(row["inclusion_probability"]) for row in known] or [1.0] * len(rows)
    prior = drift.prior(emotions, inclusion)
    return select.learn(found.probabilities, labels, prior, options.target_precision)


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Columns: id, text, target, origin. Raises DataError."""
    rows = [
        {"id": each.id, "text": each.text, "target": list(each.target), "origin": each.origin}
        for each in examples
    ]
    tables.write(path, rows)


def read_examples(path: Path) -> list[Example]:
    """What `write_examples` wrote, or any table with `target` or else `emotion`. Raises DataError.

    `target` is six shares in the order of `EMOTIONS`, as a list or as JSON; `id` and `origin` may
    be absent, and an `id` may come again: labels and unlabelled texts have their own.
    """
    found = []
    for number, row in enumerate(tables.read(path), start=1):
        if not isinstance(row.get("text"), str):
            raise DataError(f"{path}: row {number} has no text")
        try:
            target = _target(row)
        except (KeyError, TypeError, ValueError, RecursionError):
            message = f"{path}: row {number} has neither a target of six shares nor an emotion"
            raise DataError(message) from None
        name, origin = str(row.get("id") or number), str(row.get("origin") or "new")
        found.append(Example(name, row["text"], target, origin))
    return found


def _target(row: Mapping[str, Any]) -> tuple[float, ...]:
    """Six shares that sum to 1. Raises KeyError, TypeError, ValueError, RecursionError."""
    if not row.get("target"):
        return select.one_hot(EMOTIONS[EMOTIONS.index(row["emotion"])])
    stated = row["target"]
    target = tuple(
        float(each) for each in (json.loads(stated) if isinstance(stated, str) else stated)
    )
    if len(target) != len(EMOTIONS) or min(target) < 0 or not abs(sum(target) - 1) <= SLACK:
        raise ValueError("no distribution over the six")
    return target


def parts(
    rows: Sequence[Pseudo], replayed: Collection[str], *, soft: bool
) -> tuple[list[Example], list[Example]]:
    """(replay, new): what an earlier run selected, and the rest."""
    old = [row for row in rows if row.id in replayed]
    new = [row for row in rows if row.id not in replayed]
    return select.pseudo(old, "replay", soft=soft), select.pseudo(new, "new", soft=soft)
