"""What was sent, what came back, and whether that is exactly once."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field

Place = tuple[int, int]  # the partition and offset of an input record


@dataclass(slots=True)
class Tally:
    """When each record was sent and its result seen, in seconds of the monotonic clock."""

    sent: dict[Place, float] = field(default_factory=dict)
    poison: set[Place] = field(default_factory=set)
    seen: dict[Place, float] = field(default_factory=dict)
    dead: set[Place] = field(default_factory=set)
    emotions: Counter[str] = field(default_factory=Counter)
    low_margin: int = 0
    reviews: int = 0
    repeats: int = 0

    def take(self, place: Place, *, dead: bool) -> None:
        """Note one result, visible now."""
        self.repeats += place in self.seen
        self.seen.setdefault(place, time.monotonic())
        if dead:
            self.dead.add(place)

    def faults(self) -> list[str]:
        """What must not be; none, it is hoped."""
        counts = {
            "records without a result": len(self.sent.keys() - self.seen.keys()),
            "results of nothing that was sent": len(self.seen.keys() - self.sent.keys()),
            "repeated results": self.repeats,
            "messages among the dead letters": len(self.dead - self.poison),
            "unreadable records with an emotion": len((self.poison & self.seen.keys()) - self.dead),
        }
        return [f"{count} {what}" for what, count in counts.items() if count]

    def rate(self) -> float:
        """Results a second, from the first record sent to the last result seen."""
        return len(self.seen) / (max(self.seen.values()) - min(self.sent.values()))

    def latency_ms(self, share: float) -> float:
        """What that share of the results took at most, from produce to visible."""
        places = self.sent.keys() & self.seen.keys()
        waits = sorted(self.seen[place] - self.sent[place] for place in places)
        return 1000 * waits[math.ceil(share * len(waits)) - 1]
