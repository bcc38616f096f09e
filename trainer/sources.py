"""What a run is made from: labels, new samples, unlabelled texts, and what was kept from before."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from trainer import dataset, history, labels, tables
from trainer.dataset import Labelled, Text
from trainer.leakage import Firewall
from trainer.settings import TrainerSettings
from trainer.snapshot import SAMPLES
from trainer.tables import DataError


@dataclass(frozen=True, slots=True)
class Given:
    """Files that a command names, each in place of what its stage would read."""

    labelled: Path | None = None
    texts: Path | None = None
    pseudo: Path | None = None
    training: Path | None = None
    teacher: Path | None = None
    """The folder of a fitted model."""


NOTHING: Final = Given()


class Sources:
    """The files that the settings, a command and earlier runs name, each read once."""

    def __init__(self, options: TrainerSettings, given: Given = NOTHING) -> None:
        self.options = options
        self._labelled = given.labelled or options.labelled
        self._texts = given.texts

    @cached_property
    def snapshots(self) -> list[Path]:
        """Those that no finished run has used."""
        used = {name for run in history.read(self.options.work) for name in run.snapshots}
        return [each for each in history.snapshots(self.options.work) if each.name not in used]

    @cached_property
    def golden(self) -> list[Labelled]:
        """The evaluation set. Raises DataError."""
        return dataset.read_golden(self.options.golden)

    @cached_property
    def firewall(self) -> Firewall:
        """What keeps golden texts from training. Raises DataError."""
        return Firewall(self.golden)

    @cached_property
    def reviewed(self) -> list[Labelled]:
        """What reviewers said. Raises DataError."""
        return labels.read(self.options.work)

    @cached_property
    def free(self) -> list[Labelled]:
        """Of that, what repeats no golden text. Raises DataError."""
        return self.firewall.without(self.reviewed)

    @cached_property
    def labelled(self) -> list[Labelled]:
        """What people labelled: the file, and reviews, which win however a text is spelt.

        The file may hold golden texts: it is for the stages to refuse them. Raises DataError.
        """
        return dataset.merge(self.free, dataset.read_labelled(self._labelled))

    def texts(self) -> list[Text]:
        """What to pseudo-label: of the stream, what repeats no golden text. Raises DataError."""
        texts = self.firewall.without(self.stream)
        if not texts:
            raise DataError(
                f"nothing to pseudo-label: each of the {len(self.stream)} texts that came in "
                f"repeats one of {self.options.golden}, which nothing trains on"
            )
        return texts

    @cached_property
    def offered(self) -> list[Text]:
        """What came in: new samples, and the file of unlabelled texts. Raises DataError."""
        collected = (*(each / SAMPLES for each in self.snapshots), self.options.unlabelled)
        return [
            Text(row["id"], row["text"])
            for path in ((self._texts,) if self._texts else collected)
            if path is not None
            for row in dataset.read_stream(path)
        ]

    @cached_property
    def stream(self) -> list[Text]:
        """Everything that nobody labelled, each text under an id of its own. Raises DataError."""
        rows = [*([] if self._texts else self.replay()), *self.offered]
        once: dict[str, Text] = {}
        for row in rows:
            if row.text.strip():
                other = once.get(row.id, row).text != row.text  # two files that count from 1, say
                # Or it was told apart in an earlier run, whose choice is replayed.
                apart = dataset.apart(row)
                name = apart if other or apart in once else row.id
                once.setdefault(name, replace(row, id=name))
        if not once:
            raise DataError(
                "nothing to pseudo-label: collect review samples, or set TRAINER_UNLABELLED"
            )
        return list(once.values())

    def samples(self) -> list[dict[str, Any]]:
        """The review samples of the snapshots."""
        return [row for each in self.snapshots for row in tables.read(each / SAMPLES)]

    def all_samples(self) -> list[dict[str, Any]]:
        """The review samples of every snapshot, used or not."""
        folders = history.snapshots(self.options.work)
        return [row for each in folders for row in tables.read(each / SAMPLES)]

    def replayed_ids(self) -> set[str]:
        """Of what an earlier run selected, the ids of what nothing offers any more: replay.

        A file of unlabelled texts is offered each time, and what is in it is as new as ever.
        """
        offered = {row.text for row in self.offered}
        return {row.id for row in self.replay() if row.text not in offered}

    def replay(self) -> list[Text]:
        """What an earlier run selected, to be labelled anew."""
        rows = tables.read(self.replayed) if self.replayed else []
        return [Text(row["id"], row["text"]) for row in rows if row["origin"] != "human"]

    @cached_property
    def replayed(self) -> Path | None:
        """The training set of the last run that used up snapshots and believed any of them.

        Others can be made again.
        """
        for run in reversed(history.read(self.options.work)):
            path = self.options.work / run.selected
            if run.snapshots and any(row["origin"] != "human" for row in tables.read(path)):
                return path
        return None

    @property
    def labels(self) -> dict[str, Path]:
        """The files of labels, by what they are to a stage."""
        reviewed = self.options.work / labels.FILE
        given = {"labelled": self._labelled, "golden": self.options.golden}
        return given | ({"reviewed": reviewed} if reviewed.exists() else {})

    @property
    def streams(self) -> dict[str, Path]:
        """The files of unlabelled texts, by what they are to a stage."""
        if self._texts:
            return {"texts": self._texts}
        found = {f"snapshot {each.name}": each for each in self.snapshots}
        if self.options.unlabelled:
            found["unlabelled"] = self.options.unlabelled
        return found | ({"replay": self.replayed} if self.replayed else {})
