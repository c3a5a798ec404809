"""The formulas of docs/domain.md, over scores in millionths; every product is truncated toward zero."""

from .formats import keyed
from .society import ONE

HALF = ONE // 2


def times(one, other):
    """A product of two scores."""
    product = one * other
    return product // ONE if product >= 0 else -(-product // ONE)


def held(score):
    """A score within 0 … 1."""
    return min(max(score, 0), ONE)


def rated(reputation, rating, author):
    """A reputation after a rating by an author of this reputation, its stake boost included."""
    return held(reputation + times(times(rating, 50_000), min(ONE, author)))


def met(trust, sentiment, drama, boost=0):
    """An author's trust in a target after an interaction."""
    return held(trust + _louder(times(sentiment, 100_000), boosted(drama, boost)))


def boosted(drama, boost):
    """How loud drama is that alliances boost."""
    return min(10, drama + 10 * boost // ONE)


def betrayed(trust, drama):
    """A member's trust in the traitor after a betrayal."""
    return held(trust - _louder(100_000, drama))


def _louder(step, drama):
    product = step * (10 + drama)
    return product // 10 if product >= 0 else -(-product // 10)


def strength(reputations, trusts, influences, left, duration):
    """An alliance's strength: of its members, of their views around the ring, and of the time that is left."""
    factors = times(times(mean(reputations), mean(trusts)), mean(influences))
    return times(factors, ONE * left // duration)


def mean(scores):
    return sum(scores) // len(scores)


def reaction_kind(score):
    """How a meme is taken by whoever gives it this score, and what that is worth."""
    for least, kind, base in ((700_000, "Love", 100_000), (500_000, "Like", 50_000), (300_000, "Neutral", 0)):
        if score > least:
            return kind, base
    return "Dislike", -50_000


def reacted(score, influence, trust):
    """What a reaction adds to a meme's influence, by the author's influence and its trust in the creator."""
    return times(times(reaction_kind(score)[1], influence), trust)


def trust_after_reaction(trust, score):
    return held(trust + times(score - HALF, 100_000))


def quality(score_sum, reactions):
    count = sum(reactions.values())
    return score_sum // count if count else 0


def virality(reactions, influences, agents):
    return min(ONE, (reactions["love"] + reactions["like"] + influences) * ONE // agents)


def decayed(value, elapsed, half_life):
    """A meme's influence after `elapsed`."""
    if half_life == 0:
        return value
    halves, rest = divmod(elapsed, half_life)
    return (value >> min(halves, 63)) * (2 * half_life - rest) // (2 * half_life)


def drawn(parent, conflict, number, agents):
    """The ordinal of a draw of electors."""
    found = keyed("draw", parent + conflict + number.to_bytes(4, "big"))
    return int.from_bytes(found[:8], "big") % agents


def shuffled(parent, conflict, agents):
    """The ordinals of agents in the order in which they are looked at as electors: a shuffle, as far as it goes."""
    moved = {}
    for place in range(min(agents, 1024)):
        other = place + drawn(parent, conflict, place, agents - place)
        here = moved.get(place, place)
        yield moved.get(other, other)
        moved[other] = here


def weight(strategy, personality_weight, reputation, influence, cap):
    """An elector's weight; voting power is part of the influence."""
    if strategy == "SocialInfluence":
        return reputation * (ONE + min(influence, cap)) // ONE
    return ONE if strategy == "Majority" else personality_weight
