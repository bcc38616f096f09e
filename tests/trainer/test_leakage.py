"""A golden text is known again however it is dressed up."""

import unicodedata
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import dataset, leakage, problems, tables
from trainer.dataset import Labelled, Text
from trainer.leakage import Firewall, LeakageError
from trainer.settings import TrainerSettings

from .commands import command
from .conftest import chat, tsv

GOLDEN = [
    Text("g1", "오늘 면접에서 떨어졌어 너무 속상하다"),
    Text("g2", "ㅋㅋㅋㅋ 진짜 웃겨"),
    Text("g3", "😊😊"),
    Text("g4", "네"),
    Text("g5", "우승이다 우승"),
    Text("g6", "ㅇㅋㅇㅋ"),
]
OTHERS = ["내일 비 온대 우산 챙겨", "점심 뭐 먹을까", "면접 준비는 잘 되고 있어?", "응", "😭"]


@pytest.mark.parametrize(
    ("text", "golden"),
    [
        ("오늘 면접에서 떨어졌어 너무 속상하다", "g1"),
        ("오늘면접에서떨어졌어너무속상하다!!", "g1"),
        (unicodedata.normalize("NFD", "오늘 면접에서 떨어졌어 너무 속상하다"), "g1"),
        ("오늘 면접에서 떨어졌어... 너무너무 속상하다ㅠㅠ", "g1"),
        ("ㅋㅋ 진짜 웃겨", "g2"),
        ("ㅋ 진짜 웃겨!", "g2"),
        ("😊", "g3"),
        ("네에.", None),
        ("네네네", "g4"),
        ("오늘 ㅋㅋ 면접에서 ㅋㅋ 떨어졌어 ㅋㅋ 너무 ㅋㅋ 속상하다", "g1"),
        ("오늘 ㅠㅠ 면접에서 ㅠㅜ 떨어졌어 ㅠㅠ 너무 ㅎㅠ 속상하다", "g1"),
        ("ﾤﾤ 오늘 면접에서 ﾾﾾ 떨어졌어 너무 ﾾﾤ 속상하다", "g1"),
        ("\u3164".join("오늘 면접에서 떨어졌어 너무 속상하다"), "g1"),
        (
            "ㅇㅗㄴㅡㄹ ㅁㅕㄴㅈㅓㅂㅇㅔㅅㅓ ㄸㅓㄹㅇㅓㅈㅕㅆㅇㅓ ㄴㅓㅁㅜ ㅅㅗㄱㅅㅏㅇㅎㅏㄷㅏ",
            "g1",
        ),
        ("진짜 웃겨", "g2"),
        ("ㄴㅔ", "g4"),
        ("네 ㅠㅠ", "g4"),
        ("우승이다!!!", "g5"),  # two trigrams of four
        ("ㅇㅋㅇㅋ~", "g6"),
        ("ㅇㄷ", None),
        ("엄마 들어 봐, 오늘 면접에서 떨어졌어 너무 속상하다. 이제 뭘 하면 좋을지 모르겠어", "g1"),
        ("엄마 들어 봐, 오늘 면접에서 떨어졌어. 이제 뭘 하면 좋을지 정말 하나도 모르겠어", None),
        ("오늘은 우리 팀이 드디어 우승이다 우승이라고 다들 난리가 났어", None),  # four are few
    ],
)
def test_a_golden_text_is_found_in_disguise(text: str, golden: str | None) -> None:
    found = Firewall(GOLDEN).match(Text("t", text))
    assert (found.golden if found else None) == golden


@pytest.mark.parametrize("text", OTHERS)
def test_a_text_about_the_same_thing_is_no_repeat(text: str) -> None:
    assert Firewall(GOLDEN).match(Text("t", text)) is None


def test_an_overlap_stops_and_lists_the_pairs_without_the_golden_text() -> None:
    rows = [Text("a", "네"), Text("b", "응"), Text("c", "ㅋㅋ진짜 웃겨")]
    with pytest.raises(LeakageError) as caught:
        Firewall(GOLDEN).check(rows)
    assert str(caught.value).splitlines() == [
        "2 texts that would train repeat golden ones; take them out:",
        "  a ~ g4 (1.00)",
        "  c ~ g2 (1.00)",
    ]
    assert Firewall(GOLDEN).without(rows) == [rows[1]]
    Firewall(GOLDEN).check([rows[1]])


def test_a_text_that_stands_among_what_trains_twice_is_told_of_once() -> None:
    with pytest.raises(LeakageError, match=r"^1 texts .*\n  a ~ g4 \(1\.00\)$"):
        Firewall(GOLDEN).check([Text("a", "네"), Text("a", "네")])


def test_to_labels_of_people_what_laughs_and_what_weeps_are_two_texts() -> None:
    assert leakage.normal("그래 ㅋㅋ") != leakage.normal("그래 ㅠㅠ")
    assert leakage.bare("그래 ㅋㅋ") == leakage.bare("그래 ㅠㅠ") == leakage.normal("그래!")


@pytest.mark.parametrize(
    ("apart", "joined"),
    [
        ("ㅎㅏㄴㄱㅡㄹ", "한글"),
        ("ㄷㅏㄺㅇㅣ ㅇㅓㅄㅇㅓ", "닭이없어"),
        ("ㅇㅣㅆㄷㅏ 3ㅅㅣ", "있다3시"),
        ("ㅅㅣㄹㅀ", "실"),  # no word: what is left over is left out
    ],
)
def test_letters_typed_apart_are_joined(apart: str, joined: str) -> None:
    assert leakage.bare(apart) == joined


def test_a_long_list_of_pairs_is_cut() -> None:
    with pytest.raises(LeakageError) as caught:
        Firewall(GOLDEN).check([Text(str(n), "네") for n in range(50)])
    assert len(str(caught.value).splitlines()) == leakage.SHOWN + 2
    assert str(caught.value).endswith("and 30 more")


def test_a_leak_stops_the_command_which_names_the_file_with_every_pair(
    options: TrainerSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = dataset.read_golden(options.golden)
    leaked = [Labelled(f"l{n}", row.text, row.emotion) for n, row in enumerate(golden[:50])]
    tsv(options.labelled, [*chat(60, 1), *leaked])
    assert command(options, monkeypatch, "teach") == 1
    listed = options.work / "leakage.jsonl"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == ("trainer: 50 texts that would train repeat golden ones; take them out:")
    assert len(said) == leakage.SHOWN + 3
    assert said[-2:] == ["  and 30 more", f"  all of them: {listed}"]
    pairs = [(row["trained"], row["golden"], row["likeness"]) for row in tables.read(listed)]
    assert pairs == [(f"l{n}", row.id, 1.0) for n, row in enumerate(golden[:50])]


def test_a_list_that_cannot_be_written_hides_no_leak(tmp_path: Path) -> None:
    error = LeakageError([leakage.Overlap("t1", "g1", 1.0)])
    said = problems.told(error, tmp_path / "none").splitlines()
    assert said[1] == "  t1 ~ g1 (1.00)"
    assert said[2].endswith("cannot be written: No such file or directory")


def test_what_ships_as_training_data_repeats_nothing_of_what_ships_as_golden() -> None:
    defaults = TrainerSettings()
    golden = dataset.read_golden(defaults.golden)
    Firewall(golden).check(dataset.read_labelled(defaults.labelled))


def test_a_text_that_goes_round_in_circles_hides_nothing() -> None:
    golden = [Text("g", "가나가나다가나라가나가나")]
    assert Firewall(golden).match(Text("t", "힣나가나다가나라가나가나")) is not None
    assert Firewall(golden).match(Text("t", "가나")) is None


@given(st.text(min_size=1, max_size=60))
def test_every_text_matches_itself_and_normalising_twice_changes_nothing(text: str) -> None:
    found = Firewall([Text("g", text)]).match(Text("t", text))
    assert found is not None
    assert found.likeness == 1.0
    assert leakage.normal(leakage.normal(text)) == leakage.normal(text)


@given(st.text("가나다라마바사아자차카타파하 ", min_size=12, max_size=60), st.integers(0, 99))
def test_one_changed_letter_of_a_long_text_hides_nothing(text: str, seed: int) -> None:
    if len(leakage.normal(text)) < 12:
        return
    place = Random(seed).randrange(len(text))  # noqa: S311  (no secret)
    changed = text[:place] + "힣" + text[place + 1 :]
    found = Firewall([Text("g", text)]).match(Text("t", changed))
    assert found is not None
