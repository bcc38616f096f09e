"""The settings of the contract, and how mistakes in them are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer import __main__ as program
from trainer.settings import TrainerSettings, check
from worker import settings

from .commands import command

ROOT = Path(__file__).resolve().parents[2]

CONTRACT = {
    "TRAINER_REGISTRY": "registry",
    "TRAINER_GOLDEN": ROOT / "data/golden.tsv",
    "TRAINER_LABELLED": ROOT / "data/train.tsv",
    "TRAINER_UNLABELLED": None,
    "TRAINER_TEACHER": "beomi/KcELECTRA-base-v2022",
    "TRAINER_STUDENT": "klue/roberta-base",
    "TRAINER_MIN_CONFIDENCE": 0.75,
    "TRAINER_MIN_MARGIN": 0.20,
    "TRAINER_REVIEW_TOPIC": "chat.emotions.review",
    "TRAINER_GROUP_ID": "maum-trainer",
    "TRAINER_MIN_SAMPLES": 1000,
    "TRAINER_CRON": None,
    "TRAINER_RAY_ADDRESS": None,
    "TRAINER_LABEL_SMOOTHING": 0.05,
    "TRAINER_GRADIENT_CLIP": 1.0,
    "TRAINER_PATIENCE": 2,
    "TRAINER_SELECTION": "seed",
}
COMMANDS = (
    "run",
    "schedule",
    "collect",
    "teach",
    "pseudo-label",
    "select",
    "finetune",
    "evaluate",
    "compare",
    "promote",
    "adopt",
    "rollback",
    "report",
    "review",
)


@pytest.mark.parametrize(("name", "default"), CONTRACT.items(), ids=CONTRACT)
def test_every_setting_of_the_contract_has_its_default(name: str, default: object) -> None:
    loaded = settings.load(TrainerSettings)
    assert getattr(loaded, name.removeprefix("TRAINER_").lower()) == default


def test_help_lists_every_command_and_setting_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from trainer.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'aiokafka', 'numpy', 'pyarrow', 'sklearn'}\n"
        "    print('heavy:', *sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "heavy:\n"
    assert [name for name in CONTRACT if f"  {name} (" not in done.stdout] == []
    assert [name for name in COMMANDS if f"    {name}" not in done.stdout] == []


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TRAINER_EPOCHS", "0", "TRAINER_EPOCHS: Input should be greater than"),
        ("TRAINER_EPOCH", "3", "TRAINER_EPOCH: unknown setting; did you mean TRAINER_EPOCHS?"),
        ("trainer_epoch", "3", "trainer_epoch: unknown setting; did you mean TRAINER_EPOCHS?"),
        ("TRAINER_SELECTION", "all", "TRAINER_SELECTION: Input should be 'seed' or 'calibrated'"),
        ("TRAINER_HUMAN_SHARE", "0.9", "TRAINER_HUMAN_SHARE and TRAINER_REPLAY_SHARE together"),
        ("TRAINER_NAME", "aliases", "TRAINER_NAME: aliases is a folder of every"),
        ("TRAINER_REVIEW_TOPIC", "no spaces", "TRAINER_REVIEW_TOPIC: String should match"),
    ],
)
def test_a_mistake_is_one_line_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    complaint: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert program.main(["teach"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"trainer: {complaint}")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TRAINER_GOLDEN", "no.tsv", "no.tsv is no file"),
        ("TRAINER_GOLDEN", "file.txt", "file.txt: the name must end in one of .jsonl, .csv, .tsv"),
        ("TRAINER_GOLDEN", "file/golden.tsv", "file/golden.tsv is no file"),
        ("TRAINER_LABELLED", "no.tsv", "no.tsv is no file"),
        ("TRAINER_LABELLED", "file.txt", "file.txt: the name must end in one of .jsonl, .csv"),
        ("TRAINER_UNLABELLED", "no.tsv", "no.tsv is no file"),
        ("TRAINER_TEACHER", "/no/model", "/no/model is no folder, and no Hugging Face id either"),
        ("TRAINER_STUDENT", "", "nothing is no folder, and no Hugging Face id either"),
        ("TRAINER_WORK", "", "name a folder (given: '')"),
        ("TRAINER_STUDENT", "./no", "./no is no folder, and no Hugging Face id either"),
        ("TRAINER_REGISTRY", "foo://x", "foo://x cannot be opened: Protocol not known: foo"),
        ("TRAINER_REGISTRY", "simplecache::foo://x", "simplecache::foo://x cannot be opened"),
        ("TRAINER_WORK", "file.txt", "file.txt is a file; name a folder"),
        ("TRAINER_WORK", "file.txt/runs", "file.txt is a file; name a folder"),
    ],
)
@pytest.mark.parametrize("arguments", [["run", "--no-collect"], ["promote"], ["schedule"]], ids=str)
def test_a_setting_that_names_nothing_is_a_line_and_exits_with_2_before_any_work(
    tmp_path: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    name: str,
    value: str,
    complaint: str,
) -> None:
    (tmp_path / "file.txt").write_text("text\temotion\n")
    wrong = options.model_copy(update={name.removeprefix("TRAINER_").lower(): value})
    monkeypatch.setattr(program, "_configure_logs", lambda: None)  # the test's own
    assert command(wrong, monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trainer: {name}: ")
    assert complaint in line
    assert not options.work.exists()


@pytest.mark.parametrize(
    "arguments", [["rollback"], ["report"], ["review", "export", "tasks.json"]], ids=str
)
def test_what_a_command_does_not_read_need_not_be_there(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """A rollback above all."""
    nowhere = {"golden": "no.tsv", "labelled": "no.tsv", "teacher": "/no/model"}
    assert command(options.model_copy(update=nowhere), monkeypatch, *arguments) == 1


def test_a_registry_that_does_not_answer_is_no_wrong_setting(options: TrainerSettings) -> None:
    for url in ("ftp://nowhere.invalid/models", "s3://no-bucket/models", "memory://x", "models"):
        check(options.model_copy(update={"registry": url}), "registry")


@pytest.mark.parametrize("spec", ["klue/roberta-base", "klue/roberta-base@v1", "bert-base-uncased"])
def test_a_hub_id_is_no_missing_folder(options: TrainerSettings, spec: str) -> None:
    check(options.model_copy(update={"teacher": spec}), "teacher")


@pytest.mark.parametrize(
    "arguments",
    [[], ["teech"], ["review", "burn"], ["review", "label", "--limit=0"], ["run", "--fast"]],
    ids=str,
)
def test_a_wrong_argument_is_one_line_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m trainer")


def test_an_export_without_a_file_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["review", "export"]) == 2
    assert capsys.readouterr().err == "trainer: review export needs a file\n"
