"""The composition root: settings → recipe → run. `python -m trainer --help` tells the rest.

Heavy libraries are imported where they are needed, so that --help and mistakes answer at once.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from schemas.arguments import Parser
from trainer import __version__
from trainer.settings import TrainerSettings, check
from worker import settings
from worker.settings import KafkaSettings, SettingsError

if TYPE_CHECKING:
    from trainer.lineage import Lineage
    from trainer.recipe import Recipe

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except SettingsError as error:
        for mistake in error.mistakes:
            print(f"trainer: {mistake}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("trainer: stopped; the same command goes on from here", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m trainer",
        description="From what the worker was unsure of to a better model in the running worker.",
        epilog="Settings, from the environment or a .env file:\n\n"
        + settings.describe(KafkaSettings, TrainerSettings)
        + "\n\nExit codes: 0 done, 1 failed while running, 2 settings or arguments are wrong.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, help_: str, command: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_)
        added.set_defaults(command=command)
        return added

    run = add("run", "one whole retraining, from the review topic to the promotion", _run)
    run.add_argument("--no-collect", action="store_true", help="on files alone, without Kafka")
    run.add_argument("--no-promote", action="store_true", help="compare, and leave it at that")
    add("schedule", "run by TRAINER_CRON, or when TRAINER_MIN_SAMPLES wait", _schedule)
    add("collect", "the review topic → a snapshot; commits once it is durable", _collect)
    for name, help_, file, replaced, reads, stage in STAGES:
        one = add(name, help_, _stage(file, reads, stage))
        one.add_argument("file", nargs="?", type=Path, metavar=file.upper(), help=replaced)
        if name in {"pseudo-label", "select"}:
            one.add_argument(
                "--teacher", type=Path, metavar="MODEL", help="a fitted teacher's folder"
            )
    one = add("evaluate", "a model on the golden set", _evaluate)
    one.add_argument("model", nargs="?", type=Path, help="a model's folder (default: the student)")
    add("compare", "the student against the champion, as the gate does", _compare)
    add("promote", "ask the gate, and move the alias if it says so", _promote)
    adopted = add("adopt", "a model that serves already → the first champion", _adopt)
    adopted.add_argument("model", help="its folder or Hugging Face id")
    back = add("rollback", "move the alias back to what it pointed at before", _rollback)
    back.add_argument("version", nargs="?", help="or to this version")
    add("report", "the last run as HTML and Markdown", _report)
    review = add("review", "labels of people: export, import, or label in the terminal", _review)
    review.add_argument("do", choices=["export", "import", "label"])
    review.add_argument("file", nargs="?", type=Path, help="export: .json (Label Studio) or .jsonl")
    review.add_argument("--limit", type=_positive, default=200, help="samples (default 200)")
    return parser


# The settings that name what a student is made from.
TAUGHT: Final = ("golden", "labelled", "teacher")
CHOSEN: Final = (*TAUGHT, "unlabelled")
FITTED: Final = (*CHOSEN, "student")
ALL: Final = (*FITTED, "registry")
# Those that are not looked at where a command is given this.
INSTEAD: Final = {
    "labelled": {"labelled"},
    "texts": {"unlabelled"},
    "training": {"unlabelled", "teacher"},
    "teacher": {"teacher"},
}

# A stage's command, what it does, the file that it may be given, what that replaces, the settings
# that name what it reads, and its work.
Stage = tuple[str, str, str, str, tuple[str, ...], Callable[["Lineage"], object]]
STAGES: Final[tuple[Stage, ...]] = (
    (
        "teach",
        "labelled data → a teacher",
        "labelled",
        "in place of TRAINER_LABELLED",
        TAUGHT,
        lambda lineage: lineage.teacher,
    ),
    (
        "pseudo-label",
        "the teacher's opinion of unlabelled texts",
        "texts",
        "in place of what was collected and TRAINER_UNLABELLED",
        CHOSEN,
        lambda lineage: lineage.pseudo,
    ),
    (
        "select",
        "which of them to believe",
        "pseudo",
        "in place of what pseudo-label left",
        CHOSEN,
        lambda lineage: lineage.selected,
    ),
    (
        "finetune",
        "the selected → a student",
        "training",
        "in place of what select left",
        FITTED,
        lambda lineage: lineage.candidate,
    ),
)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _with_recipe(
    work: Callable[["Recipe"], object],
    *,
    alone: bool = True,
    reads: Collection[str] = (),
    **given: Path | None,
) -> int:
    """Do `work`, and tell each failure in a line of its own; `alone` in the folder of the stages.

    `reads`: the settings that name what it needs; what is wrong with them is told before the work
    of hours. `given`: as of `sources.Given`, in place of some. What uses the registry only, or
    reads only, does not mind a fit that is under way. Raises SettingsError.
    """
    kafka_settings, options = settings.load_both(KafkaSettings, TrainerSettings)
    instead = {each for name, path in given.items() if path for each in INSTEAD.get(name, ())}
    check(options, *(name for name in reads if name not in instead))
    from trainer import problems, recipe, sources, stage  # noqa: PLC0415
    from worker import kafka  # noqa: PLC0415

    _configure_logs()
    connection = kafka.connection(kafka_settings)
    try:
        with stage.alone(options.work) if alone else nullcontext():
            work(recipe.Recipe(options, _say, connection, sources.Given(**given)))
    except problems.expected() as error:
        print(f"trainer: {problems.told(error, options.work)}", file=sys.stderr)
        return FAILED
    return DONE


def _configure_logs() -> None:
    from worker import logs  # noqa: PLC0415  (lazy)

    logs.configure("console", "error", sys.stderr)
    # What aiokafka says of a broker that is away is told in a line, by the error that it raises.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _say(line: str) -> None:
    print(line, flush=True)


def _run(arguments: argparse.Namespace) -> int:
    return _with_recipe(
        lambda recipe: recipe.run(
            collecting=not arguments.no_collect, promoting=not arguments.no_promote
        ),
        reads=ALL,
    )


def _collect(_: argparse.Namespace) -> int:
    return _with_recipe(lambda recipe: recipe.collect())


def _stage(
    file: str, reads: Collection[str], stage: Callable[["Lineage"], object]
) -> Callable[[argparse.Namespace], int]:
    def command(arguments: argparse.Namespace) -> int:
        teacher = getattr(arguments, "teacher", None)
        if arguments.file and not arguments.file.is_file():
            raise SettingsError([f"{arguments.file} is no file"])
        if teacher and not teacher.is_dir():
            raise SettingsError([f"{teacher} is no folder"])
        given = {file: arguments.file, "teacher": teacher}
        return _with_recipe(lambda recipe: stage(recipe.lineage), reads=reads, **given)

    return command


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.model and not arguments.model.is_dir():
        raise SettingsError([f"{arguments.model} is no folder"])

    def work(recipe: "Recipe") -> None:
        if not arguments.model:
            recipe.look_back()
        model = arguments.model or recipe.lineage.candidate.folder / "model"
        print(recipe.lineage.measured(model).table)

    return _with_recipe(work, reads=("golden",) if arguments.model else FITTED)


def _compare(_: argparse.Namespace) -> int:
    def work(recipe: "Recipe") -> None:
        from trainer import compare  # noqa: PLC0415

        recipe.look_back()
        found = recipe.gate.compare()
        print(compare.describe(found) if found else "there is no champion to compare with yet")

    return _with_recipe(work, reads=ALL)


def _promote(_: argparse.Namespace) -> int:
    return _with_recipe(lambda recipe: recipe.promote(), reads=ALL)


def _adopt(arguments: argparse.Namespace) -> int:
    return _with_recipe(
        lambda recipe: recipe.gate.adopt(arguments.model), reads=("golden", "registry")
    )


def _rollback(arguments: argparse.Namespace) -> int:
    return _with_recipe(
        lambda recipe: recipe.gate.rollback(arguments.version), alone=False, reads=("registry",)
    )


def _report(_: argparse.Namespace) -> int:
    return _with_recipe(lambda recipe: recipe.report())


def _schedule(_: argparse.Namespace) -> int:
    kafka_settings, options = settings.load_both(KafkaSettings, TrainerSettings)
    check(options, *ALL)
    from trainer import schedule  # noqa: PLC0415
    from worker import kafka  # noqa: PLC0415

    _configure_logs()
    return schedule.serve(options, kafka.connection(kafka_settings))


def _review(arguments: argparse.Namespace) -> int:
    if arguments.do != "label" and arguments.file is None:
        raise SettingsError([f"review {arguments.do} needs a file"])
    from trainer import review, terminal  # noqa: PLC0415

    if arguments.do == "export":
        return _with_recipe(
            lambda recipe: review.export(recipe, arguments.file, arguments.limit), alone=False
        )
    if arguments.do == "import":
        return _with_recipe(
            lambda recipe: review.take_in(recipe, arguments.file), reads=("golden",)
        )
    # A terminal that somebody left open keeps no scheduled run waiting.
    return _with_recipe(
        lambda recipe: review.label(recipe, arguments.limit, terminal.one_key), alone=False
    )


if __name__ == "__main__":
    sys.exit(main())
