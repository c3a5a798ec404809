"""The formulas of docs/domain.md at the inputs of society/golden/formulas.json."""

from itertools import islice

from chaoschain_client.codec import Score
from chaoschain_client.formulas import (
    HALF, betrayed, boosted, decayed, drawn, held, mean, met, quality, rated, reacted, reaction_kind, shuffled, strength,
    times, trust_after_reaction, virality, weight,
)
from chaoschain_client.society import ONE
from chaoschain_client.tally import decide, tally

NO_SCORES = ("parent", "conflict", "strategy", "kind")


def score(millionths):
    return Score().to_json(millionths)


def change(after):
    """What moved a score that was a half."""
    return score(after - HALF)


def plain(name, value):
    """An input with every score in millionths."""
    if isinstance(value, dict):
        return {key: plain(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(name, item) for item in value]
    return Score().from_json(value) if isinstance(value, str) and name not in NO_SCORES else value


def reaction(given):
    kind, base = reaction_kind(given)
    return {"kind": kind, "base": score(base)}


def time_left(formed_at, expires_at, now):
    return score(strength([ONE], [ONE], [ONE], max(expires_at - now, 0), expires_at - formed_at))


def weighed(strategy, kind, personality_weights, influence_cap, reputation, influence, voting_power):
    of_kind = personality_weights["alliances" if kind == "ConflictingAlliances" else "facts"]
    return weight(strategy, of_kind, reputation, influence + voting_power, influence_cap)


def counted(options, electors):
    told = tally({"options": [{}] * options, "electors": electors})
    return {
        "weights": told.weights, "total": told.total, "participation": score(told.participation),
        "all_spoken": told.all_spoken,
    }


def decided(at, competing, options, **conflict):
    told = decide({**conflict, "options": [{}] * options}, at, competing)
    return told and {"option": told[0], "by": told[1]}


FORMULAS = {
    "held": lambda value, change: score(held(value + change)),
    "trust_by_rating": lambda rating: score(times(rating, 100_000)),
    "reputation_by_rating": lambda rating, reputation, boost: change(rated(HALF, rating, reputation + boost)),
    "trust_by_interaction": lambda sentiment, drama: change(met(HALF, sentiment, drama)),
    "boosted_drama": boosted,
    "trust_by_betrayal": lambda drama: change(betrayed(HALF, drama)),
    "trust_by_reconciliation": lambda: score(50_000),
    "trust_by_influence": lambda impact, sentiment: score(times(times(impact, sentiment), 100_000)),
    "influence_of_creator": lambda added: score(times(added, 50_000)),
    "reaction": lambda score: reaction(score),
    "trust_by_reaction": lambda score: change(trust_after_reaction(HALF, score)),
    "influence_by_reaction": lambda influence, trust, **of: score(reacted(of["score"], influence, trust)),
    "decayed": lambda value, elapsed, half_life: score(decayed(value, elapsed, half_life)),
    "quality": lambda score_sum, reactions: score(quality(score_sum, reactions)),
    "virality": lambda influences, agents, **reactions: score(virality(reactions, influences, agents)),
    "mean": lambda scores: score(mean(scores)),
    "time_left": time_left,
    "strength": lambda members, interactions, memes, time: score(
        strength([members], [interactions], [memes], time, ONE)
    ),
    "drawn_ordinal": lambda parent, conflict, draw, agents: drawn(
        bytes.fromhex(parent), bytes.fromhex(conflict), draw, agents
    ),
    "shuffled_ordinals": lambda parent, conflict, agents: list(
        islice(shuffled(bytes.fromhex(parent), bytes.fromhex(conflict), agents), 12)
    ),
    "weight": weighed,
    "tally": counted,
    "decide": decided,
}


def check(vector):
    told = FORMULAS[vector["formula"]](**plain(None, vector["inputs"]))
    assert told == vector["output"], f"{told!r} is not {vector['output']!r}"
