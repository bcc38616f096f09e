"""The whole story, on small models: it promotes what is better, and tells what it did."""

import asyncio
import json
from pathlib import Path

import pytest
import torch

from schemas.promotion import ModelPromotion
from trainer import __main__ as program
from trainer import (
    base,
    dataset,
    evaluate,
    facts,
    history,
    labels,
    promote,
    records,
    report,
    review,
    snapshot,
    stage,
    tables,
    teach,
)
from trainer.collect import Waiting
from trainer.dataset import Labelled
from trainer.depot import RegistryError
from trainer.gate import Outcome
from trainer.history import Run
from trainer.job import FitError
from trainer.leakage import LeakageError
from trainer.lineage import Lineage, Selection
from trainer.promote import AnnounceError
from trainer.recipe import Recipe
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from trainer.sources import Sources
from trainer.stage import Done
from trainer.tables import DataError
from worker import registry as workers

from .commands import command, environment
from .conftest import GOLDEN_FILLER, WORDS, chat, tsv
from .stored import put
from .topic import Topic, sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def given(tmp_path: Path, options: TrainerSettings) -> TrainerSettings:
    """Settings of a run on files alone, without the ablation."""
    unlabelled = tsv(tmp_path / "unlabelled.tsv", chat(120, 5, "u"))
    changes = {"unlabelled": unlabelled, "announce": False, "ablation": False, "epochs": 2}
    return options.model_copy(update=changes)


def run(options: TrainerSettings, said: list[str] | None = None) -> Outcome:
    lines: list[str] = [] if said is None else said
    found = Recipe(options, lines.append, {}).run(collecting=False, promoting=True)
    assert isinstance(found, Outcome)
    return found


def test_a_run_promotes_the_first_student_and_the_worker_finds_it(given: TrainerSettings) -> None:
    said: list[str] = []
    outcome = run(given, said)
    assert outcome.promotion is not None
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == outcome.promotion.version
    # Whether int8 is refused is up to the kind of processor.
    stages = [line.partition(":")[0] for line in said if not line.startswith("publish: int8 is")]
    assert stages == [
        "teach",
        "pseudo-label",
        "select",
        "finetune (seed)",
        "publish",
        "evaluate",
        "promote",  # there is no champion to compare with
        "promote",
        "report",
    ]
    again: list[str] = []
    run(given, again)
    assert all("unchanged" in line for line in again if "→" in line)


def test_a_run_removes_the_models_that_older_runs_alone_used(given: TrainerSettings) -> None:
    one = given.model_copy(update={"keep_runs": 1, "epochs": 1})
    first = run(one).student.folder
    said: list[str] = []
    other = one.model_copy(update={"student_learning_rate": 1e-3})
    second = run(other, said).student.folder
    assert said[-1].startswith(f"prune: only older runs used finetune/{first.name}, publish/")
    assert not first.exists()
    assert (report.render_last(one.work) / report.HTML).exists()
    again: list[str] = []
    assert run(other, again).student.folder == second
    assert all("unchanged" in line for line in again if "→" in line)


def test_a_student_no_better_than_the_champion_is_not_promoted(
    tmp_path: Path, given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    first = run(given)
    assert first.promotion is not None
    # The champion over again, but for a hair's breadth: another version with the same answers.
    model, tokenizer = base.load(str(first.student.folder / "model"))
    with torch.no_grad():
        model.get_parameter("classifier.out_proj.bias")[0] += 1e-5
    model.save_pretrained(tmp_path / "equal")
    tokenizer.save_pretrained(tmp_path / "equal")
    equal = {"student": str(tmp_path / "equal"), "student_learning_rate": 1e-12, "epochs": 1}
    second = run(given.model_copy(update={**equal, "min_speed": 0.0}))
    assert second.comparison is not None
    assert second.comparison.macro_f1.value == pytest.approx(0.0)
    assert (second.verdict, second.promotion) == ("insufficient evidence", None)
    standing = workers.read_alias(f"registry:{given.registry}#champion")
    assert standing.version == first.promotion.version
    assert [each.verdict for each in history.read(given.work)] == ["promote", second.verdict]


def test_golden_texts_in_the_labelled_file_stop_the_run_and_nothing_is_promoted(
    given: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    tsv(given.labelled, [*chat(240, 1), Labelled("leak", golden[3].text, "기쁨")])
    with pytest.raises(LeakageError, match="leak ~ g3"):
        run(given)
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert program.main(["run", "--no-collect"]) == 1
    assert "leak ~ g3 (1.00)" in capsys.readouterr().err
    assert not Path(given.registry).exists()


def test_golden_texts_in_a_stream_are_left_out(tmp_path: Path, given: TrainerSettings) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    rows = [*chat(6, 5, "u"), Labelled("same", golden[0].text, "기쁨")]
    options = given.model_copy(update={"unlabelled": tsv(tmp_path / "few.tsv", rows)})
    texts = Sources(options).texts()
    assert {each.id for each in texts} == {f"u{number}" for number in range(6)}


def test_texts_that_share_an_id_are_all_labelled(tmp_path: Path, given: TrainerSettings) -> None:
    """Each month's file counts from 1, and what an earlier run chose is replayed."""
    kept = given.work / "select/old"
    kept.mkdir(parents=True)
    tables.write(
        kept / "seed.parquet",
        [
            {"id": "1", "text": "지난달 글", "origin": "new"},
            {"id": "9", "text": "늘", "origin": "new"},
        ],
    )
    done = Run(
        snapshots=["a"], selected="select/old/seed.parquet", student="s", verdict="", version=None
    )
    history.add(given.work, done)
    rows = [("1", "이번달 새 글"), ("2", "또 다른 글"), ("9", "늘")]
    unlabelled = tsv(tmp_path / "month.tsv", [Labelled(*row, "기쁨") for row in rows])
    found = Sources(given.model_copy(update={"unlabelled": unlabelled})).stream
    assert [each.text for each in found] == ["지난달 글", "늘", "이번달 새 글", "또 다른 글"]
    assert len({each.id for each in found}) == 4
    assert [each.id for each in found][:2] == ["1", "9"]  # replayed ones are known by their ids
    told_apart = next(each.id for each in found if each.text == "이번달 새 글")
    tables.write(
        kept / "seed.parquet", [{"id": told_apart, "text": "이번달 새 글", "origin": "new"}]
    )
    again = Sources(given.model_copy(update={"unlabelled": unlabelled})).stream
    assert [each.text for each in again] == ["이번달 새 글", "또 다른 글", "늘"]  # each once


def test_a_student_of_other_settings_is_not_promoted_as_if_it_were_of_these(
    given: TrainerSettings,
) -> None:
    other = given.model_copy(update={"seed": 8})
    silent: list[str] = []
    Recipe(other, silent.append, {}).run(collecting=False, promoting=False)
    (made,) = history.read(given.work)
    for options, same in ((given, False), (other, True)):
        said: list[str] = []
        recipe = Recipe(options, said.append, {})
        recipe.look_back()
        assert any("the student of the last run" in line for line in said) == same
    assert made.student


def test_what_the_firewall_leaves_out_is_told_by_the_stages_and_the_report(
    tmp_path: Path, given: TrainerSettings
) -> None:
    golden = chat(120, 99, "g", GOLDEN_FILLER)
    rows = [*chat(60, 5, "u"), *(Labelled(f"u-{row.id}", row.text, "기쁨") for row in golden[:3])]
    options = given.model_copy(update={"unlabelled": tsv(tmp_path / "few.tsv", rows)})
    import_ = tsv(tmp_path / "labels.tsv", [*chat(6, 7, "r"), *golden[:2]])
    said: list[str] = []
    review.take_in(Recipe(options, said.append, {}), import_)
    assert said[-1].endswith("; 2 of them repeat golden texts, so nothing trains on them")
    run(options, said)
    left_out = {line.partition(":")[0]: line for line in said if "golden_left_out" in line}
    assert "golden_left_out 2 " in left_out["teach"]
    assert "golden_left_out 3 " in left_out["pseudo-label"]
    page = (report.render_last(options.work) / report.MARKDOWN).read_text()
    assert "- 2 labels of reviewers repeat golden texts and were left out" in page
    assert "- of 63 texts 3 repeat golden ones and were left out" in page


def test_a_stream_of_which_the_firewall_leaves_nothing_is_one_line(
    tmp_path: Path, given: TrainerSettings
) -> None:
    golden = [Labelled(f"u-{row.id}", row.text, "기쁨") for row in chat(7, 99, "g", GOLDEN_FILLER)]
    options = given.model_copy(update={"unlabelled": tsv(tmp_path / "few.tsv", golden)})
    with pytest.raises(DataError, match=r"^nothing to .* 7 texts .* repeats one of .*golden\.tsv"):
        Sources(options).texts()


def test_what_a_reviewer_says_wins_over_the_file(given: TrainerSettings) -> None:
    rows = chat(240, 1)
    labels.add(given.work, Labelled("chat-0-1", rows[0].text, "당황"))
    found = {row.text: row.emotion for row in Sources(given).labelled}
    assert found[rows[0].text] == "당황"
    assert len(found) == 240


def test_nothing_to_label_is_one_line(options: TrainerSettings) -> None:
    with pytest.raises(DataError, match="nothing to pseudo-label"):
        Sources(options).texts()


def test_no_report_before_a_run(
    options: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    assert program.main(["report"]) == 1
    assert "no run has finished" in capsys.readouterr().err


def test_two_trainers_in_one_folder_are_one_too_many(
    options: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(options).items():
        monkeypatch.setenv(name, value)
    with stage.alone(options.work):
        assert program.main(["teach"]) == 1
    assert "another trainer is at work" in capsys.readouterr().err


@pytest.mark.kafka
def test_from_the_review_topic_to_the_announcement(servers: str, options: TrainerSettings) -> None:
    """With the ablation, both kinds of selection and a report, as the scheduler calls it."""
    topic = Topic(servers, options.model_copy(update={"selection": "calibrated", "epochs": 2}))
    topic.create()
    rows = chat(60, 5, "s")
    topic.send([sample(n, text=row.text, low=n % 2 == 0) for n, row in enumerate(rows)])
    said: list[str] = []
    working = Recipe(topic.options, said.append, topic.connection)
    outcome = working.run(collecting=True, promoting=True)
    assert isinstance(outcome, Outcome)
    assert outcome.promotion is not None
    announced = topic.options.model_copy(update={"review_topic": topic.options.models_topic})
    (record,) = asyncio.run(records.read(topic.connection, announced, {0: (0, 1)}))
    assert ModelPromotion.model_validate_json(record.value) == outcome.promotion
    folder = report.render_last(topic.options.work)
    page = (folder / report.HTML).read_text()
    for part in (*WORDS, "verdict: promote", "Ablation", "calibrated", "@font-face", "<svg"):
        assert part in page
    assert not any(mark in page for mark in ("http://fonts", "https://", "<script", " src="))
    assert rows[0].text not in page
    kept = facts.read(folder)
    assert set(kept.ablation) == {"none", "seed", "calibrated"}
    assert kept.production is not None
    assert kept.production.samples == 60
    assert "offsets 0: 0 to" in (folder / report.MARKDOWN).read_text()
    following = Recipe(topic.options, said.append, topic.connection)
    assert following.run(collecting=True, promoting=True) == Waiting(0)
    assert said[-1] == "collect: 0 samples wait, 5 are needed; nothing consumed"
    topic.send([sample(n, text=f"{row.text} 더") for n, row in enumerate(rows, start=100)])
    later = Recipe(topic.options, said.append, topic.connection)
    later.collect()
    assert {each.id for each in later.lineage.sources.texts()} >= {
        f"chat-0-{n}" for n in range(100, 160)
    }


@pytest.mark.kafka
def test_a_run_killed_after_collecting_goes_on_without_new_samples(
    servers: str, options: TrainerSettings
) -> None:
    topic = Topic(servers, options.model_copy(update={"ablation": False, "epochs": 2}))
    topic.create()
    topic.send([sample(n, text=row.text) for n, row in enumerate(chat(30, 5))])
    assert not isinstance(topic.collect(), Waiting)
    outcome = Recipe(topic.options, print, topic.connection).run(collecting=True, promoting=True)
    assert isinstance(outcome, Outcome)


def test_a_rollback_of_nothing_is_one_line(
    given: TrainerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert program.main(["rollback"]) == 1
    assert "points at nothing yet" in capsys.readouterr().err


def test_a_model_that_was_rolled_back_from_is_not_promoted_again(
    given: TrainerSettings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed after its promotion is repeated; meanwhile somebody decided."""
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    easy = given.model_copy(update={"min_speed": 0.0, "max_class_drop": 1.0})
    first = put(tiny_model, easy)
    second = run(easy.model_copy(update={"epochs": 6}))
    assert second.promotion is not None
    assert promote.rollback(easy).version == first.version
    said: list[str] = []
    again = run(easy.model_copy(update={"epochs": 6}), said)
    assert (again.verdict, again.promotion) == ("withdrawn", None)
    assert f"`rollback {second.promotion.version}` points it there again" in "".join(said)
    standing = workers.read_alias(f"registry:{given.registry}#champion")
    assert standing.version == first.version
    assert history.read(given.work)[-1].verdict == "withdrawn"
    page = (report.render_last(given.work) / report.HTML).read_text()
    assert "verdict: withdrawn" in page


@pytest.fixture
def stubborn(tmp_path: Path, tiny_model: Path) -> str:
    """A model with one answer for everything, which a low learning rate does not change."""
    model, tokenizer = base.load(str(tiny_model))
    with torch.no_grad():
        model.get_parameter("classifier.out_proj.bias")[0] = 50.0
    model.save_pretrained(tmp_path / "stubborn")
    tokenizer.save_pretrained(tmp_path / "stubborn")
    return str(tmp_path / "stubborn")


def test_a_first_student_with_one_answer_for_everything_is_not_promoted(
    given: TrainerSettings, stubborn: str
) -> None:
    said: list[str] = []
    still = {"student": stubborn, "student_learning_rate": 1e-12, "epochs": 1}
    outcome = run(given.model_copy(update=still), said)
    assert (outcome.verdict, outcome.promotion) == ("reject", None)
    assert any("there is no champion to compare with; macro-F1 0." in line for line in said)
    assert Registry(given.registry, given.name).alias("champion") is None
    assert history.read(given.work)[-1].verdict == "reject"


def test_a_registry_whose_alias_is_lost_is_one_line(given: TrainerSettings) -> None:
    first = run(given)
    assert first.promotion is not None
    (Path(given.registry) / "aliases/champion.json").unlink()
    with pytest.raises(RegistryError, match=f"points at nothing, but {first.promotion.version}"):
        run(given.model_copy(update={"seed": 8}))


def test_a_model_that_serves_already_is_what_students_have_to_beat(
    tmp_path: Path,
    given: TrainerSettings,
    stubborn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    good = teach.teach(chat(240, 1), [], tmp_path, given.model_copy(update={"epochs": 6}))
    assert good["macro_f1"] > 0.9
    serving = str(tmp_path / "model")
    assert command(given, monkeypatch, "adopt", serving) == 0
    standing = Registry(given.registry, given.name).alias("champion")
    assert standing is not None
    assert f"adopt: champion is {standing.version} now" in capsys.readouterr().out
    stated = workers.fetch(standing).folder / "manifest.json"
    assert json.loads(stated.read_bytes())["parent"] == serving
    weak = run(given.model_copy(update={"student": stubborn, "student_learning_rate": 1e-12}))
    assert (weak.verdict, weak.promotion) == ("reject", None)
    assert command(given, monkeypatch, "adopt", serving) == 1
    assert f"points at {standing.version} already" in capsys.readouterr().err


def test_the_alias_goes_back_while_a_run_is_at_work(
    tiny_model: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = options.model_copy(update={"announce": False})
    first = put(tiny_model, quiet)
    put(tiny_model, quiet, "2026-11-25", expected=first.version)
    with stage.alone(options.work):
        assert command(quiet, monkeypatch, "rollback") == 0
    standing = Registry(options.registry, options.name).alias("champion")
    assert standing is not None
    assert standing.version == first.version


def test_a_run_whose_promotion_kafka_was_not_told_of_is_reported_and_over(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise AnnounceError("emotion.models could not be told")

    monkeypatch.setattr(promote, "announce", away)
    loud = given.model_copy(update={"announce": True})
    with pytest.raises(AnnounceError, match="could not be told"):
        run(loud)
    (kept,) = history.read(given.work)
    assert kept.verdict == "promote"
    assert (report.render_last(given.work) / report.HTML).exists()
    standing = Registry(given.registry, given.name).alias("champion")
    assert standing is not None
    assert standing.version == kept.version


def test_an_arm_of_the_ablation_that_cannot_be_fitted_is_left_out(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Lineage.student

    def failing(self: Lineage, name: Selection) -> Done:
        if name == "calibrated":
            raise FitError("the loss became NaN; lower the learning rate")
        return student(self, name)

    monkeypatch.setattr(Lineage, "student", failing)
    said: list[str] = []
    assert run(given.model_copy(update={"ablation": True}), said).promotion is not None
    kept = facts.read(facts.folder(given.work, Path(history.read(given.work)[-1].student).name))
    assert set(kept.ablation) == {"none", "seed"}
    none, seed = (kept.ablation[name].intervals["macro_f1"][0] for name in ("none", "seed"))
    assert list(kept.gain) == ["seed"]
    value, low, high = kept.gain["seed"]
    assert value == pytest.approx(seed - none)
    assert low <= value <= high
    assert any("finetune (calibrated): the loss became NaN" in line for line in said)


def test_what_was_compared_first_is_what_is_promoted_later(
    given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has used its samples up: what is left would make another student."""
    rehearsed = Recipe(given, print, {}).run(collecting=False, promoting=False)
    assert isinstance(rehearsed, Outcome)
    assert (rehearsed.verdict, rehearsed.promotion) == ("not asked", None)
    kept = history.read(given.work)[-1]
    (given.work / "history.json").unlink()
    # As after a run that used samples up, from which replay is made.
    history.add(given.work, kept.model_copy(update={"snapshots": ["used"]}))
    assert "verdict: not asked" in (report.render_last(given.work) / report.HTML).read_text()
    assert command(given, monkeypatch, "promote") == 0
    standing = Registry(given.registry, given.name).alias("champion")
    assert standing is not None
    told = [(each.verdict, each.version) for each in history.read(given.work)]
    assert told == [("not asked", None), ("promote", standing.version)]
    folder = facts.folder(given.work, rehearsed.student.folder.name)
    for name in (report.HTML, report.MARKDOWN):
        page = (folder / name).read_text()
        assert "verdict: promote" in page
        assert "not asked" not in page
    assert standing.version in (folder / report.HTML).read_text()
    found = {step.stage: step for step in facts.read(folder).steps}
    assert found["publish"].parents == (f"finetune/{rehearsed.student.folder.name}/model",)
    shipped = workers.fetch(standing).folder / "model.safetensors"
    student = rehearsed.student.folder / "model/model.safetensors"
    assert shipped.read_bytes() == student.read_bytes()
    assert len(list((given.work / "finetune").glob("[!.]*"))) == 1


def test_a_golden_set_renewed_since_the_run_is_kept_apart_from_what_its_student_learned(
    tmp_path: Path, given: TrainerSettings
) -> None:
    Recipe(given, print, {}).run(collecting=False, promoting=False)
    kept = history.read(given.work)[-1]
    golden = dataset.read_golden(given.golden)
    learned = tables.read(given.work / kept.selected)[0]["text"]
    for text, leaks in ((learned, True), ("아무도 배우지 않은 새로운 글", False)):
        renewed = tsv(tmp_path / f"{leaks}.tsv", [*golden, Labelled("new", text, "기쁨")])
        recipe = Recipe(given.model_copy(update={"golden": renewed}), print, {})
        if leaks:
            with pytest.raises(LeakageError):
                recipe.promote()
            assert Registry(given.registry, given.name).alias("champion") is None
        else:
            outcome = recipe.promote()
            found = facts.read(facts.folder(given.work, outcome.student.folder.name))
            assert found.after.items == len(golden) + 1
            assert found.verdict == "promote"


def test_a_renewed_golden_set_is_a_comparison_of_its_own(
    tmp_path: Path, given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same champion and the same student: the verdict on the old set is not the new one's."""
    monkeypatch.setattr(evaluate, "TIMED_SECONDS", 0.0)
    assert run(given).promotion is not None
    later = given.model_copy(update={"seed": given.seed + 1})
    before = Recipe(later, print, {}).run(collecting=False, promoting=False)
    assert isinstance(before, Outcome)
    golden = dataset.read_golden(given.golden)
    renewed = tsv(tmp_path / "renewed.tsv", [*golden, Labelled("new", "처음 보는 새 글", "기쁨")])
    after = Recipe(later.model_copy(update={"golden": renewed}), print, {}).promote()
    assert before.comparison is not None
    assert after.comparison is not None
    assert after.student.folder == before.student.folder
    assert (before.comparison.items, after.comparison.items) == (len(golden), len(golden) + 1)


def test_what_was_selected_before_a_run_that_believed_nothing_is_replayed_still(
    given: TrainerSettings,
) -> None:
    given.work.mkdir()
    for name, origin in (("first", "new"), ("second", "human")):
        rows = [{"id": name, "text": f"{name} 글", "origin": origin}]
        tables.write(given.work / f"{name}.parquet", rows)
        run_ = Run(
            snapshots=[name],
            selected=f"{name}.parquet",
            student=f"finetune/{name}",
            verdict="reject",
            version=None,
        )
        history.add(given.work, run_)
    assert [row.id for row in Sources(given).replay()] == ["first"]


def test_what_is_offered_again_is_no_replay(tmp_path: Path, given: TrainerSettings) -> None:
    rows = [
        {"id": f"{number}", "text": text, "origin": "new"}
        for number, text in enumerate(("옛 글", "늘 있는 글"))
    ]
    given.work.mkdir()
    tables.write(given.work / "selected.parquet", rows)
    history.add(
        given.work,
        Run(
            snapshots=["used"],
            selected="selected.parquet",
            student="finetune/1",
            verdict="promote",
            version=None,
        ),
    )
    unlabelled = tsv(tmp_path / "always.tsv", [Labelled("u1", "늘 있는 글", "기쁨")])
    sources = Sources(given.model_copy(update={"unlabelled": unlabelled}))
    assert sources.replayed_ids() == {"0"}


def test_a_snapshot_that_was_changed_is_one_line(given: TrainerSettings) -> None:
    def make(folder: Path) -> dict[str, float]:
        tables.write(folder / snapshot.SAMPLES, [{"id": "a", "text": "글"}])
        (folder / snapshot.QUARANTINE).write_bytes(b"{}")
        return {}

    done = stage.run(given.work, "collect", {}, {}, make)
    (done.folder / snapshot.QUARANTINE).unlink()
    with pytest.raises(DataError, match="was changed since it was collected"):
        history.snapshots(given.work)
