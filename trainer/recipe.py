"""The story: collect → teach → pseudo-label → select → fine-tune → evaluate → promote.

Each step is a stage on files and is skipped when its inputs are unchanged, so a run that was
killed goes on where it was, and a command of its own redoes no more than it must.

For the report alone, and after the gate, the student is also fitted to what the other selections
chose, with the same start, settings and seed: labels of people and nothing else (`none`), with the
pseudo-labels that the seed's filter accepts (`seed`), with those of the calibrated selection
(`calibrated`).
"""

from pathlib import Path
from typing import Any

from trainer import collect, facts, history, promote, prune, report, stage
from trainer.collect import Waiting
from trainer.facts import Facts
from trainer.gate import Gate, Outcome
from trainer.history import Run
from trainer.lineage import Lineage, Say
from trainer.settings import TrainerSettings
from trainer.sources import NOTHING, Given, Sources
from trainer.stage import Done, Setting, StageManifest


class Recipe:
    """One run: what it makes, and the gate that this is put to."""

    def __init__(
        self,
        options: TrainerSettings,
        say: Say,
        connection: dict[str, Any],
        given: Given = NOTHING,
    ) -> None:
        """`say` takes one line a stage; `connection` is for Kafka clients."""
        self.options = options
        self.say = say
        self.lineage = Lineage(options, say, given)
        self.gate = Gate(self.lineage, connection)
        self._connection = connection

    def run(self, *, collecting: bool, promoting: bool) -> Outcome | Waiting:
        """One whole retraining. Raises what the stages raise, and AnnounceError at its end."""
        if collecting and not self.lineage.sources.snapshots:
            collected = self.collect()
            if isinstance(collected, Waiting):
                return collected
        outcome = self.gate.promote() if promoting else self.gate.ask()
        self._report(facts.gather(self.gate, outcome))
        self._remember(outcome)  # from here on its snapshots count as used
        prune.prune(self.options, self.say)
        if outcome.untold:
            raise outcome.untold
        return outcome

    def look_back(self) -> None:
        """Take the last run's student for the candidate, where no samples wait for another one.

        A run uses its samples up: what is left would make a student that no report shows. With
        other settings there is another one to be made. Raises DataError, LeakageError.
        """
        runs = history.read(self.options.work)
        if not runs or self.lineage.sources.snapshots:
            return
        folder = self.options.work / runs[-1].student
        found, stated = stage.read(folder), self.options.model_dump(mode="json")
        selected = Path(runs[-1].selected).stem == self.options.selection
        if found and selected and self._same(folder) and _decided(found).items() <= stated.items():
            self._keep_golden_apart(self.options.work / runs[-1].selected, found)
            self.say(f"the student of the last run → {folder}")
            self.lineage.candidate = Done(folder, found, skipped=True)

    def _keep_golden_apart(self, selected: Path, student: StageManifest) -> None:
        """The golden set may have been renewed since the fit, which was kept from the old one.

        Raises LeakageError where the student learned from what is to score it.
        """
        if student.inputs.get("golden") == stage.fingerprint_of(self.options.golden):
            return
        from trainer.choose import read_examples  # noqa: PLC0415  (lazy: brings the classifier)

        sources = self.lineage.sources
        sources.firewall.check([*read_examples(selected), *sources.labelled])

    def _same(self, student: Path) -> bool:
        """Whether the run of `student` had the settings that a version tells of."""
        told = facts.read(facts.folder(self.options.work, student.name)).settings
        fields, stated = TrainerSettings.model_fields, self.options.model_dump(mode="json")
        # A setting that is newer than the run was as it is by default.
        return all(told.get(name, fields[name].default) == stated[name] for name in promote.TOLD)

    def promote(self) -> Outcome:
        """Ask the gate, and move the alias if it says so; the last run's report tells of it.

        Raises RegistryError, DataError, StageError, and AnnounceError at its end.
        """
        self.look_back()
        outcome = self.gate.promote()
        self._amend(outcome)
        if outcome.untold:
            raise outcome.untold
        return outcome

    def collect(self) -> Done | Waiting:
        """The review topic → a snapshot that holds something. Raises CollectError."""
        while True:
            known = history.snapshots(self.options.work)
            done = collect.collect(self._connection, self.options, known)
            if isinstance(done, Waiting):
                least = self.options.min_samples
                most = "" if done.exact else "at most "
                self.say(
                    f"collect: {most}{done.count} samples wait, {least} are needed; "
                    "nothing consumed"
                )
                return done
            self.lineage.told(done)
            self.lineage.sources = Sources(self.options)
            # Else it holds no sample, or a run used it that was killed before its offsets were
            # committed: now they are.
            if done.folder in self.lineage.sources.snapshots:
                return done

    def report(self) -> Path:
        """Render what the last run left. Raises DataError."""
        return self._reported(report.render_last(self.options.work))

    def _reported(self, folder: Path) -> Path:
        self.say(f"report: {folder / report.HTML}")
        return folder

    def _report(self, found: Facts) -> None:
        facts.write(self.options.work, found)
        self._reported(report.render(self.options.work, found))

    def _amend(self, outcome: Outcome) -> None:
        """Where the student is the last run's: its report, and the history, say what became of it.

        Raises DataError, StageError.
        """
        work, student = self.options.work, outcome.student.folder
        runs = history.read(work)
        if not runs or work / runs[-1].student != student:
            return
        kept = facts.read(facts.folder(work, student.name))
        self._report(facts.decided(kept, self.gate, outcome))
        used = sorted({*runs[-1].used, *self._used()})
        told = {"verdict": outcome.verdict, "version": _version(outcome), "used": used}
        history.add(work, runs[-1].model_copy(update=told))

    def _remember(self, outcome: Outcome) -> None:
        selected = self.lineage.selection(self.options.selection)
        history.add(
            self.options.work,
            Run(
                snapshots=[each.name for each in self.lineage.sources.snapshots],
                selected=selected.relative_to(self.options.work).as_posix(),
                student=outcome.student.folder.relative_to(self.options.work).as_posix(),
                verdict=outcome.verdict,
                version=_version(outcome),
                used=self._used(),
            ),
        )

    def _used(self) -> list[str]:
        folders = (each.relative_to(self.options.work) for each in self.lineage.used)
        return sorted(each.as_posix() for each in folders)


def _decided(student: StageManifest) -> dict[str, Setting]:
    """The options that decided a fit. That a hub has another commit since is no reason for one."""
    options = TrainerSettings.model_fields
    return {name: each for name, each in student.settings.items() if name in options}


def _version(outcome: Outcome) -> str | None:
    return outcome.promotion.version if outcome.promotion else None
