"""What the three training sets hold, from pseudo-labels and the labels of people."""

from pathlib import Path

from schemas.emotion import EMOTIONS
from tests.trainer.conftest import chat
from trainer import choose
from trainer.dataset import Pseudo
from trainer.settings import TrainerSettings
from trainer.split import split


def pseudo(name: str, text: str) -> Pseudo:
    """The teacher is sure that `text` is calm, whatever people say."""
    scores = [0.01] * 6
    scores[EMOTIONS.index("평온")] = 0.95
    return Pseudo(name, text, "평온", 0.95, 0.94, tuple(scores))


def test_what_people_labelled_no_teacher_labels_even_where_it_is_held_out(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    people, held_out = split(chat(60, 1), options.validation_share, options.seed)
    rows = [
        pseudo("trained", f"{people[0].text}!!"),
        pseudo("held out", held_out[0].text),
        pseudo("held out, louder", f"  {held_out[1].text} ~~"),
        pseudo("nobody's", "구름 커피 산책"),
    ]
    numbers = choose.choose(
        rows,
        people,
        held_out,
        replayed={"held out"},
        samples=[],
        teacher=tiny_model,
        folder=tmp_path,
        options=options,
    )
    chosen = choose.read_examples(tmp_path / "seed.parquet")
    assert [each.id for each in chosen if each.origin != "human"] == ["nobody's"]
    assert (numbers["offered"], numbers["labelled_by_people"]) == (4, 3)
