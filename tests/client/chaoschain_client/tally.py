"""A conflict's count, from its record alone, as docs/domain.md says in "How it is decided" and "Counting again"."""

from dataclasses import dataclass

from .society import ONE


@dataclass
class Tally:
    """Weights of the options and of all electors, in millionths."""

    weights: list
    total: int
    all_spoken: bool

    @property
    def spoken(self):
        return sum(self.weights)

    @property
    def participation(self):
        return self.spoken * ONE // self.total if self.total else 0


def tally(conflict):
    """Counts the opinions that a record holds."""
    electors = conflict["electors"]
    weights = [0] * len(conflict["options"])
    for elector in electors:
        if elector["opinion"] is not None and not elector["voided"]:
            weights[elector["opinion"]] += elector["weight"]
    spoken = all(elector["voided"] or elector["opinion"] is not None for elector in electors)
    return Tally(weights, sum(elector["weight"] for elector in electors), spoken)


def decide(conflict, at, competing):
    """The option that wins at this block time and by what, as a pair; `None` while nothing decides."""
    counted = tally(conflict)
    if not competing:
        return None, "Lapse"
    if len(competing) == 1 < len(conflict["options"]):
        return competing[0], "Expiry"
    for option in competing:
        if counted.weights[option] * ONE > conflict["threshold"] * counted.total:
            return option, "Threshold"
    over = at >= conflict["deadline"]
    if not over and not counted.all_spoken:
        return None
    most = max(counted.weights[option] for option in competing)
    heaviest = [option for option in competing if counted.weights[option] == most]
    enough = counted.spoken * ONE >= conflict["participation_min"] * counted.total
    if enough and len(heaviest) == 1:
        return heaviest[0], "Deadline" if over else "AllSpoken"
    return competing[0], "Default"


def agrees(conflict):
    """Whether the outcome is what the opinions give; `None` without one."""
    outcome, counted = conflict["outcome"], tally(conflict)
    if outcome is None:
        return None
    competing = outcome["competing"]
    if competing != sorted(set(competing)) or any(option >= len(conflict["options"]) for option in competing):
        return False
    told = (outcome["option"], outcome["by"])
    same = (outcome["weights"], outcome["total"]) == (counted.weights, counted.total)
    return same and decide(conflict, outcome["at"], competing) == told
