"""What review samples and the labels of people say of production, without bias."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from schemas import manifest
from schemas.emotion import EMOTIONS
from trainer import facts, history, labels, production, promote, stage, tables, wording
from trainer.dataset import Labelled
from trainer.history import Run
from trainer.lineage import Lineage
from trainer.settings import TrainerSettings
from trainer.stage import Numbers

from .conftest import chat
from .test_report import FACTS


def samples(
    count: int, seed: int, low_accuracy: float, accuracy: float, version: str = "1"
) -> tuple[list[dict[str, Any]], list[Labelled], float]:
    """Review samples of `count` messages, everybody's labels, and the true accuracy."""
    draws = Random(seed)  # noqa: S311  (no secret)
    rows, people, right = [], [], 0
    for number in range(count):
        low = draws.random() < 0.2
        hit = draws.random() < (low_accuracy if low else accuracy)
        right += hit
        if not low and draws.random() >= 0.05:
            continue
        emotion = EMOTIONS[number % 6]
        rows.append(
            {
                "id": f"{version}-{number}",
                "text": f"글 {number}",
                "emotion": emotion,
                "reason": "low_margin" if low else "random",
                "inclusion_probability": 1.0 if low else 0.05,
                "model_version": version,
                "classified_at": f"2026-11-{int(version):02}T04:00:00.000Z",
            }
        )
        said = emotion if hit else EMOTIONS[(number + 1) % 6]
        people.append(Labelled(f"{version}-{number}", f"글 {number}", said))
    return rows, people, right / count


def test_the_production_estimate_is_unbiased(options: TrainerSettings) -> None:
    rows, people, truth = samples(20_000, 1, 0.4, 0.9)
    for labelled in (people, Random(2).sample(people, len(people) // 2)):  # noqa: S311
        (found,) = production.served(rows, labelled, "1", options)
        assert found.accuracy is not None
        assert found.accuracy[1] <= truth <= found.accuracy[2]
        assert (found.samples, found.labelled) == (len(rows), len(labelled))


def test_the_interval_holds_the_truth_about_nineteen_times_of_twenty(
    options: TrainerSettings,
) -> None:
    held = 0
    for seed in range(100):
        rows, people, truth = samples(3000, seed, 0.4, 0.9)
        (found,) = production.served(rows, people, "1", options)
        assert found.accuracy is not None
        held += found.accuracy[1] <= truth <= found.accuracy[2]
    assert held >= 88


def covered(low: int, random: int, runs: int = 300) -> float:
    """How often the interval holds the truth where 95 % are right, and so many are labelled."""
    draws = np.random.default_rng(low)
    held = 0
    for number in range(runs):
        is_low = draws.random(3000) < 0.1
        right = np.where(is_low, draws.random(3000) < 0.5, draws.random(3000) < 0.95)
        chosen = ~is_low & (draws.random(3000) < 0.05)
        strata = [
            production.Stratum(
                chosen=np.full(int(stratum.sum()), chance),
                labelled=np.full(count, chance),
                right=draws.permutation(right[stratum])[:count],
            )
            for stratum, chance, count in ((is_low, 1.0, low), (chosen, 0.05, random))
        ]
        found = production.accuracy(strata, number)
        assert found.low <= found.value <= found.high
        held += found.low <= right.mean() <= found.high
    return held / runs


@pytest.mark.parametrize(("low", "random"), [(20, 20), (30, 60)])
def test_the_interval_holds_the_truth_with_few_labels_and_nearly_all_of_them_right(
    low: int, random: int
) -> None:
    assert covered(low, random) >= 0.93


def test_all_right_is_not_certain() -> None:
    """The bootstrap of labels that are all right has no width."""
    rows, people, _ = samples(3000, 1, 1.0, 1.0)
    (found,) = production.served(rows, people[:60], "1", TrainerSettings())
    assert found.accuracy is not None
    assert found.accuracy[0] == found.accuracy[2] == 1.0
    assert 0.8 < found.accuracy[1] < 0.99


def test_a_rate_that_was_changed_between_counts_each_sample_by_its_own() -> None:
    """900 messages of which one in ten was taken, all wrong, and 100 of which each was."""
    chances = np.array([0.1] * 90 + [1.0] * 100)
    stratum = production.Stratum(chances, chances, chances == 1.0)
    assert stratum.messages == pytest.approx(1000)
    assert stratum.share == pytest.approx(0.1)
    messages, shares = stratum.drawn(np.random.default_rng(1))
    assert messages.mean() == pytest.approx(1000, rel=0.01)
    assert messages.std() == pytest.approx(90, rel=0.1)  # of 90, each for 10
    assert shares.mean() == pytest.approx(0.1, abs=0.01)


def test_versions_are_not_mixed_and_the_champion_comes_first(options: TrainerSettings) -> None:
    old, of_old, bad = samples(20_000, 1, 0.2, 0.5, version="1")
    new, of_new, good = samples(20_000, 2, 0.6, 0.95, version="2")
    for champion in ("1", "2"):
        first, second = production.served([*old, *new], [*of_old, *of_new], champion, options)
        assert first.version == champion
        for each in (first, second):
            assert each.accuracy is not None
            truth = {"1": bad, "2": good}[each.version]
            assert each.accuracy[1] <= truth <= each.accuracy[2]


def test_a_champion_whose_answers_nobody_labelled_is_told_of_all_the_same(
    options: TrainerSettings,
) -> None:
    rows, people, _ = samples(2000, 1, 0.4, 0.9)
    first, second = production.served(rows, people, "9", options)
    assert (first.version, first.samples, first.labelled, first.accuracy) == ("9", 0, 0, None)
    assert (second.version, second.labelled) == ("1", len(people))
    (found,) = production.served(rows, [], None, options)
    assert (found.version, found.samples, found.labelled) == ("1", len(rows), 0)
    assert production.served([], [], None, options) == []


def test_without_a_champion_the_newest_answer_tells_what_serves(options: TrainerSettings) -> None:
    new, old = (samples(2000, 1, 0.4, 0.9, version=each)[0] for each in ("2", "1"))
    (found,) = production.served([*new, *old], [], None, options)
    assert found.version == "2"


def test_too_few_labels_estimate_nothing(options: TrainerSettings) -> None:
    rows, people, _ = samples(2000, 1, 0.4, 0.9)
    (found,) = production.served(rows, people[:10], "1", options)
    assert (found.accuracy, found.labelled) == (None, 10)


@pytest.mark.parametrize("reason", ["random", "low_margin"])
def test_labels_of_one_stratum_say_nothing_of_the_other(
    options: TrainerSettings, reason: str
) -> None:
    rows, people, _ = samples(2000, 1, 0.4, 0.9)
    inside = {row["id"] for row in rows if row["reason"] == reason}
    labelled = [row for row in people if row.id in inside]
    (found,) = production.served(rows, labelled, "1", options)
    assert found.labelled >= production.ENOUGH
    assert found.of_random == (found.labelled if reason == "random" else 0)
    assert found.accuracy is None


@pytest.mark.parametrize("reason", ["random", "low_margin"])
@pytest.mark.parametrize(("count", "told"), [(9, False), (10, True)])
def test_a_few_labels_of_a_stratum_do_not_stand_for_it(
    options: TrainerSettings, reason: str, count: int, *, told: bool
) -> None:
    rows, people, _ = samples(2000, 1, 0.4, 0.9)
    inside = {row["id"] for row in rows if row["reason"] == reason}
    few = [row for row in people if row.id in inside][:count]
    others = [row for row in people if row.id not in inside][:40]
    (found,) = production.served(rows, [*few, *others], "1", options)
    assert (found.accuracy is not None) == told


def test_a_stratum_of_hardly_any_messages_needs_hardly_any_labels(options: TrainerSettings) -> None:
    rows, people, _ = samples(20_000, 1, 0.4, 0.9)
    low = [row for row in rows if row["reason"] == "low_margin"][:100]  # of 16,100 messages
    part = [*low, *(row for row in rows if row["reason"] == "random")]
    known = {row["id"] for row in (*low[:1], *part[100:160])}
    labelled = [row for row in people if row.id in known]
    (found,) = production.served(part, labelled, "1", options)
    assert (found.labelled, found.accuracy is not None) == (61, True)


def test_without_random_samples_nothing_is_said_of_all_messages(options: TrainerSettings) -> None:
    rows, _, _ = samples(2000, 1, 0.4, 0.9)
    low = [row for row in rows if row["reason"] == "low_margin"]
    found = production.describe(low, chat(60, 1), options)
    assert (found.samples, found.prior) == (len(low), {})
    people = [Labelled(row["id"], row["text"], row["emotion"]) for row in low[:200]]
    (served,) = production.served(low, people, "1", options)
    assert (served.labelled, served.of_random, served.accuracy) == (200, 0, None)
    assert (found.class_divergence, found.text_drift_auc) == (None, None)
    told = wording.production(FACTS.model_copy(update={"production": found}))
    assert told[-1] == "no random sample among the new ones: they say nothing of all messages"
    assert not any("emotions of all messages" in line for line in told)


def test_what_a_finished_run_trained_on_still_tells_how_good_its_answers_were(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    """Two snapshots of the champion's answers, of which the first is used up."""
    rows, people, truth = samples(8000, 1, 0.4, 0.9)
    stated = promote.state(tiny_model, options, made_at="2026-11-24T04:00:00.000Z", metrics={})
    rows = [row | {"model_version": stated.version} for row in rows]
    half = len(rows) // 2

    def snapshot(part: list[dict[str, Any]]) -> str:
        def make(folder: Path) -> Numbers:
            tables.write(folder / "samples.parquet", part)
            return {}

        return stage.run(options.work, "collect", {}, {"first": part[0]["id"]}, make).folder.name

    used, new = snapshot(rows[:half]), snapshot(rows[half:])
    run = Run(snapshots=[used], selected="s", student="s", verdict="reject", version=None)
    history.add(options.work, run)
    labels.add(options.work, *people)
    champion = tmp_path / "champion"
    champion.mkdir()
    (champion / manifest.FILE_NAME).write_text(stated.model_dump_json())

    lineage = Lineage(options, print)
    assert [each.name for each in lineage.sources.snapshots] == [new]
    (found,) = facts.served(lineage, champion)
    assert (found.version, found.samples, found.labelled) == (
        stated.version,
        len(rows),
        len(people),
    )
    assert found.accuracy is not None
    assert found.accuracy[1] <= truth <= found.accuracy[2]


def test_shares_and_drift_of_production_have_intervals(options: TrainerSettings) -> None:
    """The samples' emotions go round, as the labelled ones do: no class has drifted."""
    rows, _, _ = samples(20_000, 1, 0.4, 0.9)
    found = production.describe(rows, chat(60, 1), options)
    assert found.text_drift_auc is not None
    assert found.text_drift_auc == (1.0, 1.0, 1.0)  # they share no word
    assert sum(value for value, _, _ in found.prior.values()) == pytest.approx(1.0)
    assert all(low < value < high < low + 0.1 for value, low, high in found.prior.values())
    held = [low <= 1 / 6 <= high for _, low, high in found.prior.values()]
    assert sum(held) >= 5
    assert found.class_divergence is not None
    assert found.class_divergence[1] < 0.001
    skewed = [row | {"emotion": EMOTIONS[0]} if n % 2 else row for n, row in enumerate(rows)]
    other = production.describe(skewed, chat(60, 1), options)
    assert other.class_divergence is not None
    assert other.class_divergence[1] > found.class_divergence[2]


def test_drift_of_texts_is_that_of_all_messages_and_not_of_the_sure_ones_alone(
    options: TrainerSettings,
) -> None:
    rows, _, _ = samples(40_000, 1, 0.4, 0.9)
    kept = production.thinned(rows, options.seed)
    low = sum(row["reason"] == "low_margin" for row in kept) / len(kept)
    assert low == pytest.approx(0.2, abs=0.03)  # their share of the messages
    assert len(kept) == pytest.approx(40_000 * 0.05, rel=0.1)
    alike = (chat(2000, 2) * 5)[: len(rows)]
    familiar = [row | {"text": each.text} for row, each in zip(rows, alike, strict=True)]
    strange = [
        row | {"text": f"낯선 말이다 {n}"} if row["reason"] == "low_margin" else row
        for n, row in enumerate(familiar)
    ]
    found = [
        production.describe(each, chat(2000, 1), options).text_drift_auc
        for each in (familiar, strange)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1][1] > found[0][2]  # a fifth of the messages speaks of something else
    assert production.thinned([row for row in rows if row["reason"] == "low_margin"], 7) == []
