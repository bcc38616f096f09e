"""Pseudo-labels → a training set by each policy: none, the seed's, the calibrated one."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from schemas.emotion import EMOTIONS
from trainer import dataset, drift, leakage, predict, select
from trainer.dataset import Labelled, Pseudo
from trainer.select import Example
from trainer.settings import TrainerSettings
from trainer.stage import Numbers


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

    A text that people labelled, held out or not, is not believed to be what the teacher says.
    """
    human = select.human(people)
    said = {leakage.normal(row.text) for row in (*people, *held_out)}
    free = [row for row in rows if leakage.normal(row.text) not in said]
    plain = select.seed_filter(free, options.min_confidence, options.min_margin)
    policy = learned(held_out, rows, samples, teacher, options)
    careful = select.calibrated_filter(free, policy)
    sets = {
        "none": human,
        "seed": select.mix(
            human,
            *_parts(plain, replayed, soft=False),
            human_share=0.0,
            replay_share=1.0,
            seed=options.seed,
        ),
        "calibrated": select.mix(
            human,
            *_parts(careful, replayed, soft=True),
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
    dataset.write_parquet(path, rows)


def read_examples(path: Path) -> list[Example]:
    """What `write_examples` wrote. Raises DataError."""
    return [
        Example(row["id"], row["text"], tuple(row["target"]), row["origin"])
        for row in dataset.read_table(path)
    ]


def _parts(
    rows: Sequence[Pseudo], replayed: Collection[str], *, soft: bool
) -> tuple[list[Example], list[Example]]:
    """(replay, new)."""
    old = [row for row in rows if row.id in replayed]
    new = [row for row in rows if row.id not in replayed]
    return select.pseudo(old, "replay", soft=soft), select.pseudo(new, "new", soft=soft)
