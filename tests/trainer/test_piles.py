"""Which samples people are asked first, and that chance alone decides where it has to."""

from trainer import piles

from .conftest import row


def test_three_piles_take_turns() -> None:
    samples = [row(n, "random", 0.9) for n in range(6)]
    samples += [row(n, "low_margin", n / 100) for n in range(6, 18)]
    opinions = {each["id"]: each["emotion"] for each in samples} | {"chat-0-17": "없음"}
    chosen = [each["id"] for each in piles.most_valuable(samples, opinions, {"chat-0-0"}, 7)]
    assert chosen[1:3] == ["chat-0-17", "chat-0-6"]
    random = [each for each in chosen if int(each[7:]) < 6]
    assert random[0] == chosen[0]
    assert len(random) == 3
    assert "chat-0-0" not in chosen
    assert len(set(chosen)) == 7


def test_nothing_but_chance_decides_what_is_labelled_of_the_random_stratum() -> None:
    """Its labels stand for all of it: not for the likely mistakes, nor for what came first."""
    samples = [row(n, "random", 0.9 - n / 1000) for n in range(300)]
    samples += [row(n, "low_margin", n / 1000) for n in range(300, 400)]
    opinions = {f"chat-0-{n}": "없음" for n in (*range(0, 300, 3), 350)}
    chosen = piles.most_valuable(samples, opinions, set(), 90)
    random = [int(each["id"][7:]) for each in chosen if each["reason"] == "random"]
    assert 30 <= len(random) <= 60
    assert 0.2 < sum(n % 3 == 0 for n in random) / len(random) < 0.5
    assert 110 < sum(random) / len(random) < 190
    assert "chat-0-350" in {each["id"] for each in chosen}
    later = [row(n, "random", 0.9) for n in range(1000, 1100)]
    again = piles.most_valuable([*samples, *later], opinions, set(), 400)
    order = [n for each in again if (n := int(each["id"][7:])) < 300]
    assert order[: len(random)] == random


def test_what_the_newest_model_answered_is_labelled_before_what_older_ones_did() -> None:
    samples = [row(n, "random", version="2" if n < 10 else "1") for n in range(30)]
    chosen = [each["model_version"] for each in piles.most_valuable(samples, {}, set(), 30)]
    assert chosen == ["2"] * 10 + ["1"] * 20
