"""A quarter of the simulated loop: faults come in, the champion does not get worse.

All scores are of sentences that the gate never saw: on those that it decides by, no champion falls.
"""

from itertools import pairwise

import pytest

from bench import loop_safety
from bench.loop_safety import Policy

MARGIN = 0.005  # macro-F1 that a promotion may lose: the gate asks for a gain above chance


@pytest.mark.parametrize("policy", ["seed", "calibrated"])
def test_the_champion_does_not_fall_when_the_teacher_is_wrong(policy: Policy) -> None:
    cycles = loop_safety.simulate(policy, 3)
    champions = [each.champion for each in cycles]
    assert all(later >= earlier - MARGIN for earlier, later in pairwise(champions))
    assert cycles[2].fault
    assert cycles[2].student < max(each.student for each in cycles[:2])
    assert cycles[2].verdict != "promote"
