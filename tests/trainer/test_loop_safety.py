"""A part of the simulated loop: faults come in, the champion does not get worse.

All scores are of sentences that the gate never saw: on those that it decides by, no champion falls.
"""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest

from bench import loop_safety
from bench.loop_safety import FLOOD, INCOMING, POISON, WRONG_TEACHER, Cycle, Policy
from trainer import compare
from trainer.compare import Comparison, Contender, Floors
from trainer.scores import Labels

MARGIN = 0.005  # macro-F1 that a promotion may lose: the gate asks for a gain above chance


def held(cycles: list[Cycle]) -> bool:
    """No champion is worse than the one before it."""
    champions = [each.champion for each in cycles]
    return all(later >= earlier - MARGIN for earlier, later in pairwise(champions))


@pytest.mark.parametrize(("policy", "cycles"), [("seed", 4), ("calibrated", 6)])
def test_students_become_champions_in_cycles_without_a_fault(policy: Policy, cycles: int) -> None:
    done = loop_safety.simulate(policy, cycles)
    assert held(done)
    assert done[-1].champion > done[0].champion + 0.03
    assert all(each.verdict != "promote" for each in done if each.fault)


@pytest.mark.parametrize("policy", get_args(Policy))
def test_without_a_gate_the_champion_falls(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare.compare

    def open_gate(
        labels: Labels, old: Contender, new: Contender, floors: Floors, *, resamples: int
    ) -> Comparison:
        made = found(labels, old, new, floors, resamples=resamples)
        return replace(made, verdict="promote")

    monkeypatch.setattr(compare, "compare", open_gate)
    assert not held(loop_safety.simulate(policy, 3))


@pytest.mark.parametrize("policy", get_args(Policy))
def test_the_champion_does_not_fall_when_the_teacher_is_wrong(policy: Policy) -> None:
    cycles = loop_safety.simulate(policy, 3)
    assert held(cycles)
    assert cycles[2].fault == WRONG_TEACHER
    assert cycles[2].student < max(each.student for each in cycles[:2])
    assert cycles[2].verdict != "promote"


@pytest.mark.parametrize("policy", get_args(Policy))
def test_a_flood_of_one_message_teaches_the_seeds_policy_that_message_and_neither_champion(
    policy: Policy,
) -> None:
    before, flooded = loop_safety.simulate(policy, 2, faults={1: FLOOD}, first=1500)
    assert held([before, flooded])
    more = flooded.accepted - before.accepted
    if policy == "seed":
        assert more > INCOMING  # it believes the message as often as it comes
        assert flooded.student < before.student
    else:
        assert more < INCOMING


@pytest.mark.parametrize("policy", get_args(Policy))
def test_a_poisoned_room_is_believed_and_the_gate_keeps_the_champion(policy: Policy) -> None:
    before, poisoned = loop_safety.simulate(policy, 2, faults={1: POISON}, first=1500)
    assert held([before, poisoned])
    assert poisoned.accepted > before.accepted
    assert poisoned.precision < before.precision - 0.05
    assert poisoned.verdict != "promote"
