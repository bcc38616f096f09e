"""Teacher and student from a hub: the recipe's own ids take this way where there is a network."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    ElectraConfig,
    ElectraForPreTraining,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tests import hub
from tests.hub import Hub
from tests.worker import tiny
from trainer import base, tables
from trainer.job import FitError
from trainer.settings import TrainerSettings
from worker.hub import commit

from .commands import ROOT, environment
from .conftest import FILLER, chat

TEACHER, STUDENT = "someone/electra", "someone/roberta"
RUN = ("run", "--no-collect", "--no-promote")
SHAPE: dict[str, Any] = {
    "vocab_size": tiny.tokenizer().get_vocab_size(),
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "pad_token_id": 1,
}


def published(model: PreTrainedModel, folder: Path) -> Path:
    """As the recipe's two are: pretrained alone, weights pickled, pieces in vocab.txt."""
    tiny.save(folder)
    tiny.with_vocabulary_alone(folder)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def published_again(folder: Path, copy: Path) -> Path:
    """The same model as another commit."""
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("another")
    return copy


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Hub]:
    """A hub with an ELECTRA, as KcELECTRA is one, and a RoBERTa of klue's kind."""
    torch.manual_seed(7)
    electra = ElectraForPreTraining(ElectraConfig(**SHAPE, embedding_size=64))
    klue = {
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "tokenizer_class": "BertTokenizer",
    }
    roberta = RobertaForMaskedLM(RobertaConfig(**SHAPE | klue))
    with hub.running(
        someone__electra=published(electra, tmp_path / "electra"),
        someone__roberta=published(roberta, tmp_path / "roberta"),
    ) as running:
        yield running


@pytest.fixture
def theirs(options: TrainerSettings, tmp_path: Path) -> TrainerSettings:
    """Both from the hub, and texts that nobody labelled."""
    rows = [asdict(row) for row in chat(60, 5, "u", FILLER[:5])]
    tables.write(tmp_path / "texts.parquet", rows)
    stated = {
        "teacher": TEACHER,
        "student": STUDENT,
        "unlabelled": tmp_path / "texts.parquet",
        "epochs": 1,
    }
    return options.model_copy(update=stated)


def trainer(
    options: TrainerSettings, there: Hub, cache: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """A command on files, in a process of its own: a hub's client reads its variables once."""
    return subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        cwd=ROOT,
        env=environment(options) | there.environment(cache),
        check=False,
        capture_output=True,
        text=True,
    )


def stated(work: Path, stage: str) -> list[object]:
    """The commits in the manifests of a stage, of the oldest first."""
    manifests = [json.loads(path.read_bytes()) for path in work.glob(f"{stage}/*/stage.json")]
    manifests.sort(key=lambda each: each["started_at"])
    return [each["settings"]["commit"] for each in manifests]


@pytest.mark.timeout(1200)  # five trainers one after another
def test_both_are_fitted_from_one_commit_each_and_manifests_say_of_which(
    there: Hub, theirs: TrainerSettings, tmp_path: Path
) -> None:
    first, cache = there.commit(STUDENT), tmp_path / "cache"
    done = trainer(theirs, there, cache, *RUN)
    assert done.returncode == 0, done.stderr
    assert "{" not in done.stdout  # which `Trainer` logs, where it has no bar of ours
    commits = {path.split("/")[4] for path in there.asked if "/resolve/" in path}
    assert commits == {there.commit(TEACHER), there.commit(STUDENT)}
    assert stated(theirs.work, "teach") == [there.commit(TEACHER)]
    students = stated(theirs.work, "finetune")
    assert set(students) == {first}

    config = there.models[STUDENT] / "config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"hidden_dropout_prob": 0.2}))
    before = trainer(theirs, there, cache, "compare")
    assert before.stdout.startswith("the student of the last run → ")
    moved = trainer(theirs, there, cache, *RUN)
    assert moved.returncode == 0, moved.stderr
    assert "teach: unchanged, skipped" in moved.stdout
    assert "finetune (seed): unchanged" not in moved.stdout
    assert stated(theirs.work, "finetune") == students + [there.commit(STUDENT)] * len(students)

    there.url = "http://127.0.0.1:1"  # nobody
    away = trainer(theirs, there, cache, *RUN)
    assert away.returncode == 0, away.stderr
    assert "finetune (seed): unchanged, skipped" in away.stdout

    unknown = trainer(theirs, there, tmp_path / "nothing", *RUN)
    assert unknown.returncode == 1
    *_, line = unknown.stderr.splitlines()
    assert line.startswith(f"trainer: {TEACHER} cannot be had from the Hugging Face hub: ")
    assert "Traceback" not in unknown.stderr


def test_a_pinned_teacher_stays_when_the_hub_goes_on(
    there: Hub, theirs: TrainerSettings, tmp_path: Path
) -> None:
    there.models[f"{TEACHER}@v1"] = published_again(there.models[TEACHER], tmp_path / "v1")
    pinned = theirs.model_copy(update={"teacher": f"{TEACHER}@v1"})
    first = trainer(pinned, there, tmp_path / "cache", "teach")
    assert first.returncode == 0, first.stderr
    config = there.models[TEACHER] / "config.json"
    config.write_text(config.read_text() + " ")
    again = trainer(pinned, there, tmp_path / "cache", "teach")
    assert "teach: unchanged, skipped" in again.stdout, again.stderr
    assert stated(theirs.work, "teach") == [there.commit(f"{TEACHER}@v1")]
    fetched = {path.split("/")[4] for path in there.asked if "/resolve/" in path}
    assert fetched == {there.commit(f"{TEACHER}@v1")}


def test_a_hub_that_breaks_off_is_one_line(
    there: Hub, theirs: TrainerSettings, tmp_path: Path
) -> None:
    there.breaks_off = "tokenizer_config.json"
    done = trainer(theirs, there, tmp_path / "cache", "teach")
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"trainer: {TEACHER} cannot be loaded: ")
    assert "Traceback" not in done.stderr


def test_a_folder_is_not_taken_for_a_revision_of_its_name(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "someone/tiny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FitError, match="there is a folder someone/tiny here"):
        base.load("someone/tiny@v1")


def test_a_folder_at_home_is_found(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    model, _ = base.load("~/tiny")
    assert model.config.num_labels == 6


def test_a_folder_has_no_commit(tiny_model: Path) -> None:
    assert commit(str(tiny_model)) is None
