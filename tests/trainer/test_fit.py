"""One fit for both: it learns, stops early, and a kill changes nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    TrainingArguments,
    logging,
)

from schemas.emotion import EMOTIONS
from trainer import base, checkpoint, fit, ranks, select, settle, targets, teach
from trainer.dataset import Labelled
from trainer.job import FITTED, FitError, Fitted, Job
from trainer.leakage import LeakageError
from trainer.settings import TrainerSettings
from trainer.split import split
from trainer.stage import fingerprint_of
from trainer.tables import DataError
from worker.engines import families, rounding

from .conftest import GOLDEN_FILLER, chat, full_after

ROOT = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
from trainer import fit, select, targets
from trainer.job import Job
from trainer.settings import TrainerSettings
from tests.trainer.conftest import chat

options = TrainerSettings.model_validate_json(sys.argv[1])
train, validation = select.human(chat(180, 1)), select.human(chat(60, 2))
step = targets.Fit.training_step
count = 0

def killing(*given, **named):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*given, **named)

targets.Fit.training_step = killing
fit.fit(Job(options.teacher, train, validation, options, 3e-3), Path(sys.argv[2]))
"""


def run(folder: Path, options: TrainerSettings) -> Fitted:
    folder.mkdir(exist_ok=True)
    train, validation = select.human(chat(180, 1)), select.human(chat(60, 2))
    return fit.fit(Job(options.teacher, train, validation, options, 3e-3), folder)


def test_it_learns_what_the_words_mean_and_keeps_the_best(
    tmp_path: Path, options: TrainerSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.set_verbosity_error()  # as the worker's classifier does, which labels before a student
    found = run(tmp_path / "fit", options)
    shown = capfd.readouterr()
    assert shown.out == ""  # a command's account of its stages stands there
    assert f"macro-F1={found.macro_f1:.3f}" in shown.err
    assert found.macro_f1 > 0.9
    best = max(entry["eval_macro_f1"] for entry in found.curve if "eval_macro_f1" in entry)
    assert found.macro_f1 == best
    names = {path.name for path in (tmp_path / "fit/model").iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not (tmp_path / "fit" / checkpoint.FOLDER).exists()
    tokenizer = json.loads((tmp_path / "fit/model/tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["truncation"] is None  # the fit cut texts off; who loads this need not


def test_a_settled_student_has_the_weights_that_int8_has(
    tmp_path: Path, options: TrainerSettings
) -> None:
    rows = select.human(chat(60, 1))
    job = Job(options.teacher, rows, rows, options.model_copy(update={"epochs": 1}), 3e-3)
    off: dict[bool, float] = {}
    for settled in (False, True):
        folder = tmp_path / str(settled)
        folder.mkdir()
        fit.fit(replace(job, settled=settled), folder)
        config = json.loads((folder / "model/config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model/model.safetensors")
        matrices = [weights[name].T for name in families.products(config)]
        told = [rounding.columns(each) for each in matrices]
        off[settled] = max(
            float(np.abs(numbers * steps - each).max() / np.abs(each).max())
            for each, (numbers, steps) in zip(matrices, told, strict=True)
        )
    assert off[True] < 1e-6
    assert off[False] > 1e-3


def test_what_no_int8_is_known_for_is_not_settled() -> None:
    config = AutoConfig.for_model("distilbert", dim=12, n_layers=1, n_heads=2, hidden_dim=16)
    model = AutoModelForSequenceClassification.from_config(config)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    settle.settle(model)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_it_stops_when_two_epochs_were_no_better(tmp_path: Path, options: TrainerSettings) -> None:
    still = options.model_copy(update={"epochs": 9})
    (tmp_path / "fit").mkdir()
    rows = select.human(chat(60, 1))
    found = fit.fit(Job(options.teacher, rows, rows, still, 1e-12), tmp_path / "fit")
    assert found.steps == 3 * 4  # the first epoch is the best, then two more


@pytest.mark.parametrize(("killed_at", "every"), [(3, 0), (30, 0), (30, 5)])
def test_a_fit_killed_with_9_ends_as_an_undisturbed_one(
    tmp_path: Path, options: TrainerSettings, killed_at: int, every: int
) -> None:
    """Twelve steps an epoch: killed before the first checkpoint, in the third epoch, and where
    checkpoints fall into the middle of epochs.
    """
    changes = {"epochs": 3, "checkpoint_steps": every, "patience": 9}
    longer = options.model_copy(update=changes)
    (tmp_path / "killed").mkdir()
    arguments = [longer.model_dump_json(), str(tmp_path / "killed"), str(killed_at)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], check=False, cwd=ROOT, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    whole = list((tmp_path / "killed" / checkpoint.FOLDER).glob(f"*/{checkpoint.WHOLE}"))
    made = max((int(path.parent.name.rpartition("-")[2]) for path in whole), default=0)
    assert made == (killed_at - 1) // (every or 12) * (every or 12)  # no more work is lost
    resumed = run(tmp_path / "killed", longer)
    undisturbed = run(tmp_path / "undisturbed", longer)
    assert resumed.macro_f1 == undisturbed.macro_f1
    assert resumed.steps == undisturbed.steps == 36
    hashes = [
        fingerprint_of(tmp_path / name / "model/model.safetensors")
        for name in ("killed", "undisturbed")
    ]
    assert hashes[0] == hashes[1]


class Killed(BaseException):
    """Stands for SIGKILL: what is on the disk is all that is left."""


def test_a_fit_killed_after_it_stopped_early_is_not_trained_on(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = options.model_copy(update={"epochs": 9, "patience": 1})
    undisturbed = run(tmp_path / "undisturbed", early)
    assert undisturbed.steps < 9 * 12

    save = targets.Fit.save_model

    def killed(
        self: targets.Fit,
        output_dir: str | None = None,
        _internal_call: bool = False,  # noqa: FBT001, FBT002  (Trainer's signature)
    ) -> None:
        if not _internal_call:  # of a checkpoint
            raise Killed
        save(self, output_dir, _internal_call)

    with monkeypatch.context() as patch:
        patch.setattr(targets.Fit, "save_model", killed)
        with pytest.raises(Killed):
            run(tmp_path / "killed", early)
    last = checkpoint.last_whole(tmp_path / "killed" / checkpoint.FOLDER)
    assert last is not None
    assert checkpoint.is_over(last, 1)
    (tmp_path / "killed").rename(tmp_path / "moved")  # the work folder is mounted elsewhere now
    resumed = run(tmp_path / "moved", early)
    assert (resumed.steps, resumed.macro_f1) == (undisturbed.steps, undisturbed.macro_f1)
    weights = [
        fingerprint_of(tmp_path / name / "model/model.safetensors")
        for name in ("moved", "undisturbed")
    ]
    assert weights[0] == weights[1]


def test_a_fit_killed_after_its_end_is_not_done_again(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = options.model_copy(update={"epochs": 1})
    folder = tmp_path / "fit"
    folder.mkdir()
    rows = select.human(chat(60, 1))
    job = Job(short.teacher, rows, rows, short, 3e-3)
    found = ranks.fit(job, folder)
    (folder / checkpoint.FOLDER).mkdir()  # of which a part may be left
    monkeypatch.delattr(fit, "fit")
    assert ranks.fit(job, folder) == found
    assert {each.name for each in folder.iterdir()} == {"model", FITTED}


def test_no_checkpoint_goes_before_the_next_is_whole_and_the_best_stays(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while one is removed leaves it without its mark, and another with it."""
    rmtree, seen = shutil.rmtree, []

    def removed(folder: Path) -> None:
        if folder.name.startswith("checkpoint-"):
            assert not (folder / checkpoint.WHOLE).exists()
            seen.append(sorted(each.parent.name for each in folder.parent.glob("*/whole")))
        rmtree(folder)

    monkeypatch.setattr(shutil, "rmtree", removed)
    (tmp_path / "fit").mkdir()
    rows = select.human(chat(60, 1))
    still = options.model_copy(update={"epochs": 9, "patience": 3})
    fit.fit(Job(options.teacher, rows, rows, still, 1e-12), tmp_path / "fit")
    assert seen == [["checkpoint-12", "checkpoint-4"], ["checkpoint-16", "checkpoint-4"]]


def test_a_fit_killed_after_its_last_epoch_and_moved_keeps_its_best_weights(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch of three is the best: hardly anything is learned in the others."""
    (tmp_path / "fit").mkdir()
    rows = select.human(chat(60, 1))
    longer = options.model_copy(update={"epochs": 3, "patience": 9})
    job = Job(options.teacher, rows, rows, longer, 1e-6)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(base, "take_whole_texts", killed)  # the last step before the model is saved
        with pytest.raises(Killed):
            fit.fit(job, tmp_path / "fit")
    moved = (tmp_path / "fit").rename(tmp_path / "moved")  # the work folder is mounted elsewhere
    best, last = (
        fingerprint_of(moved / checkpoint.FOLDER / f"checkpoint-{step}/model.safetensors")
        for step in (4, 12)
    )
    assert best != last
    fit.fit(job, moved)
    assert fingerprint_of(moved / "model/model.safetensors") == best


class Made(Exception):  # noqa: N818  (no error: it ends a fit before it begins)
    """What a fit is made of."""

    def __init__(self, fitting: targets.Fit) -> None:
        self.fitting = fitting


def made(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch, processes: int = 1
) -> targets.Fit:
    """The `Trainer` that a job makes."""

    def train(self: targets.Fit, **_: object) -> None:
        raise Made(self)

    monkeypatch.setattr(targets.Fit, "train", train)
    with pytest.raises(Made) as caught:
        fit.fit(replace(job, processes=processes), folder)
    return caught.value.fitting


@pytest.fixture
def job(options: TrainerSettings) -> Job:
    """180 texts, half of them of one emotion, with the settings as they are by default."""
    rows = [*chat(90, 1), *(replace(row, emotion="기쁨") for row in chat(90, 3, "h"))]
    fresh = TrainerSettings.model_fields
    names = ("label_smoothing", "gradient_clip", "patience", "warmup_share", "weight_decay")
    plain = options.model_copy(update={name: fresh[name].default for name in names})
    return Job(options.teacher, select.human(rows), select.human(chat(60, 2)), plain, 3e-3)


def test_what_reaches_the_trainer_is_the_seeds_recipe(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = made(job, tmp_path, monkeypatch)
    args = fitting.args
    assert args.max_grad_norm == 1.0
    assert args.load_best_model_at_end
    assert (args.metric_for_best_model, args.greater_is_better) == ("macro_f1", True)
    assert args.eval_strategy == args.save_strategy == "epoch"
    assert (args.learning_rate, args.weight_decay, args.seed) == (3e-3, 0.01, 7)
    (stopping,) = [
        each
        for each in fitting.callback_handler.callbacks
        if isinstance(each, EarlyStoppingCallback)
    ]
    assert stopping.early_stopping_patience == 2
    assert stopping.early_stopping_threshold == 0.0


def test_class_weights_and_smoothing_enter_the_loss(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = made(job, tmp_path, monkeypatch)
    mass = np.array([row.target for row in job.train]).sum(axis=0)
    weights = len(job.train) / (6 * mass)
    assert weights[0] > 3 * weights[5]  # 기쁨 is frequent
    draws = np.random.default_rng(7)
    logits = draws.normal(size=(4, 6))
    certain = np.eye(6)[[0, 5]]
    unsure = draws.dirichlet(np.ones(6), size=2)
    wanted = np.concatenate([certain, unsure])
    smooth = 0.95 * wanted + 0.05 / 6
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(smooth * weights * log).sum(axis=1).mean()
    inputs = {"labels": torch.tensor(wanted)}
    outputs = SimpleNamespace(logits=torch.tensor(logits))
    loss = fitting.compute_loss(lambda: outputs, inputs)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(expected, rel=1e-5)


BF16: dict[str, tuple[Callable[..., bool], dict[str, bool]]] = {
    "a GPU that has it": (lambda **_: True, {}),
    "a processor that has it": (lambda: False, {"avx512_bf16": True}),
    "a processor with tiles": (lambda: False, {"amx_bf16": True}),
    "neither": (lambda: False, {"avx2": True}),
}


@pytest.mark.parametrize("device", BF16)
def test_bf16_is_used_where_the_device_has_it(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    gpu, cpu = BF16[device]
    with monkeypatch.context() as patch:
        patch.setattr("torch.cuda.is_available", gpu)
        patch.setattr("torch.cuda.is_bf16_supported", gpu)
        patch.setattr("torch.cpu.get_capabilities", lambda: cpu)
        able = fit.has_bf16()
    assert able == (device != "neither")
    monkeypatch.setattr(fit, "has_bf16", lambda: able)
    args = made(job, tmp_path, monkeypatch).args
    assert (args.bf16, args.fp16) == (able, False)


@pytest.mark.parametrize(("gpu", "cores", "padding"), [(False, 16, 0), (True, 16, 4), (True, 2, 1)])
def test_other_processes_pad_the_batches_of_a_gpu_alone_and_leave_cores_to_others(
    monkeypatch: pytest.MonkeyPatch, *, gpu: bool, cores: int, padding: int
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr(fit, "available_cores", lambda: cores)
    assert fit.padders() == padding


@pytest.mark.parametrize(
    ("processes_devices", "steps"), [((1, 0), 12), ((1, 1), 12), ((1, 4), 3), ((2, 1), 6)]
)
def test_the_warm_up_is_a_share_of_the_steps_however_many_devices_take_part(
    tmp_path: Path,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    processes_devices: tuple[int, int],
    steps: int,
) -> None:
    """One process uses all the devices that it sees; of several each uses one."""
    processes, devices = processes_devices
    monkeypatch.setattr(TrainingArguments, "n_gpu", devices)
    half = replace(job, options=job.options.model_copy(update={"warmup_share": 0.5}))
    args = made(half, tmp_path, monkeypatch, processes).args
    assert args.get_warmup_steps(steps * 6) == steps * 6 / 2


def test_patience_is_in_epochs_where_checkpoints_fall_into_the_middle_of_them(
    tmp_path: Path, options: TrainerSettings
) -> None:
    often = options.model_copy(update={"epochs": 9, "checkpoint_steps": 2})
    rows = select.human(chat(60, 1))
    (tmp_path / "fit").mkdir()
    found = fit.fit(Job(options.teacher, rows, rows, often, 1e-12), tmp_path / "fit")
    assert found.steps == 2 + 2 * 4  # the first look is the best, then two epochs of four steps


def test_a_fit_shorter_than_the_steps_to_a_checkpoint_is_looked_at_each_epoch(
    tmp_path: Path, options: TrainerSettings
) -> None:
    seldom = options.model_copy(update={"epochs": 3, "checkpoint_steps": 500})
    rows = select.human(chat(60, 1))
    (tmp_path / "fit").mkdir()
    found = fit.fit(Job(options.teacher, rows, rows, seldom, 3e-3), tmp_path / "fit")
    assert [entry["step"] for entry in found.curve if "eval_macro_f1" in entry] == [4, 8, 12]
    assert found.macro_f1 > 0


@pytest.mark.parametrize("share", [0.5, 1.5], ids=["the model", "the optimizer"])
def test_a_disk_that_is_full_in_the_middle_of_a_fit_is_one_line_and_it_goes_on_later(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings, share: float
) -> None:
    """The optimizer's state is twice as large as the model."""
    short = options.model_copy(update={"epochs": 1})
    room = int(share * (tiny_model / "model.safetensors").stat().st_size)
    with full_after(room), pytest.raises(FitError, match="is the disk full") as caught:
        run(tmp_path / "fit", short)
    assert "\n" not in str(caught.value)
    assert run(tmp_path / "fit", short).steps == 12


def test_a_disk_that_is_full_when_the_tokenizer_is_saved_is_one_line(
    tmp_path: Path, options: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises a kind of error of its own: none."""

    def full(*_: object, **__: object) -> None:
        raise Exception("No space left on device (os error 28)")  # noqa: TRY002

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", full)
    with pytest.raises(FitError, match="is the disk full"):
        run(tmp_path / "fit", options.model_copy(update={"epochs": 1}))

    def broken(*_: object, **__: object) -> None:
        raise Exception("something else")  # noqa: TRY002

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", broken)
    with pytest.raises(Exception, match="something else"):
        run(tmp_path / "other", options.model_copy(update={"epochs": 1}))


def test_a_class_that_nobody_has_weighs_nothing() -> None:
    rows = [row for row in select.human(chat(60, 1)) if row.target[0] == 0]
    weights = targets.class_weights(rows)
    assert weights[0] == 0
    assert (weights[1:] > 0).all()


def test_a_hub_id_is_loaded_as_a_folder_is(tmp_path: Path, tiny_model: Path) -> None:
    """From the hub's cache, as there may be no network here."""
    cached = tmp_path / "hub/models--someone--tiny"
    shutil.copytree(tiny_model, cached / "snapshots/abc")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("abc")
    program = "import sys; from trainer import base; base.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, "someone/tiny"],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_that_was_cut_short_is_not_gone_on_from(tmp_path: Path) -> None:
    for step in (6, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-6" / checkpoint.WHOLE).touch()
    assert checkpoint.last_whole(tmp_path) == tmp_path / "checkpoint-6"
    assert not (tmp_path / "checkpoint-12").exists()
    assert checkpoint.last_whole(tmp_path / "none") is None


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_card_that_emulates_bf16_gets_fp32(
    monkeypatch: pytest.MonkeyPatch, *, multiplies: bool
) -> None:
    def is_supported(*, including_emulation: bool = True) -> bool:
        return multiplies or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert fit.has_bf16() == multiplies


def test_a_rare_class_weighs_more() -> None:
    rows = select.human([Labelled(str(n), "글", EMOTIONS[0 if n < 9 else 1]) for n in range(10)])
    weights = targets.class_weights(rows)
    assert weights[1] == pytest.approx(9 * weights[0])
    even = select.human(chat(60, 1))
    assert targets.class_weights(even) == pytest.approx(np.ones(6))


def test_a_teacher_with_other_labels_is_one_line(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "other")
    config = json.loads((tmp_path / "other/config.json").read_text())
    config["id2label"] = {"0": "긍정", "1": "부정"}
    config["label2id"] = {"긍정": 0, "부정": 1}
    (tmp_path / "other/config.json").write_text(json.dumps(config))
    with pytest.raises(FitError, match="has the labels 0 긍정, 1 부정; expected 분노") as caught:
        base.load(str(tmp_path / "other"))
    assert "\n" not in str(caught.value)


def test_a_start_with_its_labels_in_another_order_keeps_its_answers(
    tmp_path: Path, tiny_model: Path
) -> None:
    ours, tokenizer = base.load(str(tiny_model))
    order = [3, 0, 5, 1, 4, 2]  # which of ours each logit is
    theirs, _ = base.load(str(tiny_model))
    head = theirs.get_submodule("classifier.out_proj")
    with torch.no_grad():
        for each in head.parameters():
            each.copy_(each[order].clone())
    theirs.config.id2label = {n: str(EMOTIONS[k]) for n, k in reversed(list(enumerate(order)))}
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    loaded, _ = base.load(str(tmp_path / "theirs"))
    inputs = tokenizer(["안녕 오늘 좋아"], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**inputs).logits, ours.eval()(**inputs).logits)
    assert loaded.config.id2label == dict(enumerate(EMOTIONS))


def test_weights_that_were_cut_short_are_one_line(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "half")
    weights = tmp_path / "half/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(FitError, match="cannot be loaded") as caught:
        base.load(str(tmp_path / "half"))
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="cannot be loaded") as caught:
        base.load(str(tmp_path / "none"))
    assert "\n" not in str(caught.value)


def test_a_base_model_gets_a_head_of_six(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_text())
    for name in ("id2label", "label2id"):
        del config[name]
    config["architectures"] = ["RobertaForMaskedLM"]
    (tmp_path / "base/config.json").write_text(json.dumps(config))
    with pytest.raises(FitError, match="cannot be loaded"):
        base.load(str(tmp_path / "base" / "nowhere"))
    model, _ = base.load(str(tmp_path / "base"))
    assert model.config.id2label == dict(enumerate(EMOTIONS))


def test_a_golden_text_among_the_labelled_stops_the_teacher(
    tmp_path: Path, options: TrainerSettings
) -> None:
    golden = chat(60, 5, "g", GOLDEN_FILLER)
    with pytest.raises(LeakageError, match="g7"):
        teach.teach([*chat(60, 1), golden[7]], golden, tmp_path, options)


def test_too_little_data_is_one_line(tmp_path: Path, options: TrainerSettings) -> None:
    with pytest.raises(DataError, match="too little to fit"):
        teach.teach(chat(1, 1), chat(60, 5, "g", GOLDEN_FILLER), tmp_path, options)


def test_the_held_out_rows_stay_held_out_as_data_grows() -> None:
    few, many = chat(300, 1), chat(600, 1)
    train, held_out = split(few, 0.2, seed=7)
    _, later = split(many, 0.2, seed=7)
    assert {row.text for row in held_out} <= {row.text for row in later}
    assert 0.1 < len(held_out) / len(few) < 0.3
    assert len(train) + len(held_out) == len(few)
    twice = [Labelled("a", "좋아요!!", "기쁨"), Labelled("b", "좋아요", "평온")]
    assert all(len(part) in {0, 2} for part in split(twice, 0.5, seed=1))
