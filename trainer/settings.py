"""Every setting of the trainer: its unit, its default, and how to tune it."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainer.tables import KINDS
from worker.settings import ENV_FILE, SettingsError, Topic
from worker.storage import without_password

DATA: Final = Path(__file__).resolve().parent.parent / "data"
# Not the worker's, which wants an owner: a fit may start from bert-base-uncased.
TAKEN: Final = ("aliases", "withdrawn")  # beside the models in a registry

Share = Annotated[float, Field(ge=0, le=1)]


class TrainerSettings(BaseSettings):
    """The trainer."""

    model_config = SettingsConfigDict(env_prefix="TRAINER_", env_file=ENV_FILE, extra="ignore")

    # Where things are.
    registry: str = Field("registry", min_length=1, description="folder or fsspec URL of models")
    name: str = Field(
        "maum", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the model's name there"
    )
    alias: str = Field(
        "champion", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="what workers follow"
    )
    work: Path = Field(Path("runs"), description="folder of the stages' files")
    keep_runs: int = Field(10, ge=0, description="runs whose models stay in that folder; 0: all")
    golden: Path = Field(DATA / "golden.tsv", description="evaluation set; nothing trains on it")
    labelled: Path = Field(
        DATA / "train.tsv", description="labelled data: columns text, emotion and maybe id"
    )
    unlabelled: Path | None = Field(
        None, description="unlabelled data beside what is collected: columns text and maybe id"
    )

    # The models.
    teacher: str = Field(
        "beomi/KcELECTRA-base-v2022",
        description="a folder or Hugging Face id; @commit pins it",
    )
    student: str = Field(
        "klue/roberta-base", description="a folder or Hugging Face id; @commit pins it"
    )
    max_length: int = Field(128, ge=4, description="tokens a text in training; more are cut off")
    seed: int = Field(7, ge=0, lt=2**32, description="of every draw")

    # Fitting, teacher and student alike.
    epochs: int = Field(5, ge=1, description="passes over the data, at most")
    patience: int = Field(2, ge=1, description="epochs without a better macro-F1 before stopping")
    batch_size: int = Field(32, ge=1, description="texts a step and device")
    group_by_length: bool = Field(
        False,  # noqa: FBT003
        description="batches of texts of like length: less padding, quicker on CPU",
    )
    teacher_learning_rate: float = Field(2e-5, gt=0, description="peak, after warm-up")
    student_learning_rate: float = Field(3e-5, gt=0, description="peak, after warm-up")
    warmup_share: Share = Field(0.1, description="share of the steps that warm up")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="probability spread over labels")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of a gradient")
    checkpoint_steps: int = Field(
        0, ge=0, description="steps between evaluations and checkpoints; 0: each epoch"
    )
    validation_share: float = Field(
        0.15, gt=0, lt=0.5, description="share of the labelled data held out for stopping"
    )
    settle_weights: bool = Field(
        False,  # noqa: FBT003
        description="round the student's weights to those of int8, so that CPUs may serve it in "
        "int8 as in fp32",
    )
    processes: int = Field(1, ge=0, description="processes of a fit; 0: one a CUDA device")
    threads: int = Field(0, ge=0, description="threads on CPU; 0: the cores the process may use")

    # What becomes training data.
    selection: Literal["seed", "calibrated"] = Field(
        "seed", description="seed: fixed thresholds; calibrated: thresholds a class, soft labels"
    )
    min_confidence: Share = Field(0.75, description="seed: least top probability")
    min_margin: Share = Field(
        0.20, description="seed: least top minus second (0.75 of confidence implies 0.50)"
    )
    target_precision: float = Field(
        0.90, gt=0, lt=1, description="calibrated: what the lower bound of precision must reach"
    )
    human_share: Share = Field(0.3, description="calibrated: share of human labels, at least")
    replay_share: Share = Field(
        0.2, description="calibrated: share of what earlier runs accepted, at most"
    )
    ablation: bool = Field(True, description="fit the other selections as well, for the report")  # noqa: FBT003
    ray_address: str | None = Field(
        None, description="Ray cluster for pseudo-labels (auto, local or ray://host:port)"
    )

    # The review topic.
    review_topic: Topic = Field("chat.emotions.review", description="topic of ReviewSample")
    models_topic: Topic = Field("emotion.models", description="topic of ModelPromotion")
    group_id: str = Field("maum-trainer", min_length=1, description="consumer group")
    min_samples: int = Field(1000, ge=1, description="review samples before a run is worth it")
    max_samples: int = Field(1_000_000, ge=1, description="review samples a snapshot, at most")
    kafka_seconds: float = Field(30.0, gt=0, description="seconds of silence before giving up")
    announce: bool = Field(True, description="publish promotions to TRAINER_MODELS_TOPIC")  # noqa: FBT003

    # The gate.
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval")
    max_class_drop: Share = Field(0.05, description="F1 that a class may lose, at most")
    max_calibration_drop: Share = Field(0.03, description="added overconfidence, at most")
    min_speed: float = Field(0.8, ge=0, description="least speed as a share of the champion's")

    # The scheduler.
    cron: str | None = Field(
        None, description="UTC, such as 0 3 * * 1: minute hour day month weekday (1: Monday)"
    )
    poll_seconds: float = Field(300.0, gt=0, description="seconds between looks at the topic")

    @field_validator("work", mode="before")
    @classmethod
    def _named(cls, value: Path | str) -> Path | str:
        if not str(value):  # to Path, the current folder
            raise ValueError("name a folder")
        return value

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in TAKEN:
            raise ValueError(f"{value} is a folder of every registry; name the model otherwise")
        return value

    @model_validator(mode="after")
    def _shares(self) -> "TrainerSettings":
        if self.human_share + self.replay_share > 1:
            message = "TRAINER_HUMAN_SHARE and TRAINER_REPLAY_SHARE together are more than 1"
            raise ValueError(message)
        return self


def check(options: TrainerSettings, *reads: str) -> None:
    """Look whether what the settings `reads` name is there, and whether `work` may be a folder.

    Whether the hub has a model, and a store answers, only the work itself can tell.

    Raises SettingsError.
    """
    found = ((name, _wrong(name, getattr(options, name))) for name in ("work", *reads))
    if mistakes := [f"TRAINER_{name.upper()}: {wrong}" for name, wrong in found if wrong]:
        raise SettingsError(mistakes)


def _wrong(name: str, value: Path | str | None) -> str | None:
    try:
        if name == "work":
            return _no_folder(Path(str(value)))
        if name == "registry":
            return _no_store(str(value))
        if isinstance(value, Path):
            return _no_table(value)
        return None if value is None else _no_model(value)
    except OSError as error:
        return f"{value} cannot be looked at: {error.strerror}"


def _no_folder(path: Path) -> str | None:
    """One that is not there yet is made, unless a file is in its way."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return None if there.is_dir() else f"{there} is a file; name a folder"


def _no_store(url: str) -> str | None:
    """Whether something here can open it; that is not tried."""
    from fsspec import get_filesystem_class  # noqa: PLC0415  (lazy: brings the store's library)

    try:
        for each in url.split("::"):
            kind, mark, _ = each.partition("://")
            if mark:
                get_filesystem_class(kind)
    except (ImportError, ValueError) as error:
        return f"{without_password(url)} cannot be opened: {error}"
    return None


def _no_table(path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is no file"
    known = path.suffix in KINDS
    return None if known else f"{path}: the name must end in one of {', '.join(KINDS)}"


def _no_model(spec: str) -> str | None:
    from worker import hub  # noqa: PLC0415  (lazy: brings numpy)

    known = hub.ID.fullmatch(spec) or (spec and hub.folder(spec))
    return None if known else f"{spec or 'nothing'} is no folder, and no Hugging Face id either"


# Which settings decide what a stage makes: another value makes it anew.
FLOORS: Final = {"max_class_drop", "max_calibration_drop", "min_speed"}
FIT: Final = {
    "max_length",
    "epochs",
    "patience",
    "batch_size",
    "group_by_length",
    "warmup_share",
    "weight_decay",
    "label_smoothing",
    "gradient_clip",
    "checkpoint_steps",
    "validation_share",
}
SELECT: Final = {
    "min_confidence",
    "min_margin",
    "target_precision",
    "human_share",
    "replay_share",
    "validation_share",
}
