"""The worked examples of docs/domain.md, and conflicts counted again."""

from chaoschain_client.codec import Refused, decode, encode
from chaoschain_client.formulas import (
    HALF, betrayed, decayed, held, met, quality, rated, reacted, reaction_kind, shuffled, strength, times,
    trust_after_reaction, virality, weight,
)
from chaoschain_client.society import ONE, PERSONALITY, RECORDS
from chaoschain_client.tally import agrees, decide, tally

HOUR = 3_600_000_000
NAMED = {name: bytes([number]) * 32 for number, name in enumerate(("Ada", "Ben", "Cy"), 1)}


def same(one, two):
    assert one == two, f"{one!r} is not {two!r}"


def check():
    """Holds every example against the formulas; how many there are."""
    examples = (numbers, ratings, interactions, strengths, memes, decay, draws, electors, endings, last_field)
    for example in examples:
        example()
    return len(examples)


def numbers():
    same((times(19, 100_000), times(-19, 100_000)), (1, -1))


def ratings():
    same(held(HALF + times(800_000, 100_000)), 580_000)
    same(rated(HALF, 800_000, HALF), 520_000)
    same(rated(HALF, -ONE, HALF), 475_000)
    same(rated(HALF, ONE, 475_000), 523_750)
    same(rated(HALF, ONE, HALF + 125_000) - HALF, 31_250)
    same(rated(HALF, ONE, HALF) - HALF, 25_000)


def interactions():
    same(met(HALF, -HALF, 4), 430_000)
    same(met(HALF, 19, 10) - HALF, 2)
    same(met(HALF, -HALF, 4, boost=137_700), met(HALF, -HALF, 5))
    same(betrayed(HALF, 8), 320_000)
    same(1_700_000_000_000_000 + 30 * 24 * HOUR, 1_702_592_000_000_000)


def strengths():
    told = [strength([HALF, 520_000], [580_000, HALF], [HALF, HALF], left, 4) for left in (4, 3, 0)]
    same(told, [137_700, 103_275, 0])
    mended = betrayed(HALF, 0) + 50_000
    same((mended, strength([HALF, HALF], [mended, HALF], [HALF, HALF], 4, 4)), (450_000, 118_750))


def memes():
    same(held(HALF + times(times(400_000, -HALF), 100_000)), 480_000)
    same(held(HALF + times(400_000, 50_000)), 520_000)
    same([held(influence + 137_700) for influence in (HALF, 900_000)], [637_700, ONE])
    same((1_700_000_000_000_000 // HOUR, 472_223 * HOUR), (472_222, 1_700_002_800_000_000))
    added = reacted(900_000, HALF, 580_000)
    same((added, HALF + times(added, 50_000)), (29_000, 501_450))
    same(trust_after_reaction(580_000, 900_000), 620_000)
    scores = (900_000, 600_000, 0)
    reactions = {kind: 0 for kind in ("love", "like", "neutral", "dislike")}
    for score in scores:
        reactions[reaction_kind(score)[0].lower()] += 1
    same((quality(sum(scores), reactions), virality(reactions, 0, 4)), (HALF, HALF))


def decay():
    same([decayed(800_000, hours * HOUR, 24 * HOUR) for hours in (12, 36, 48)], [600_000, 300_000, 200_000])
    same(decayed(800_000, HOUR, 0), 800_000)


def draws():
    order = list(shuffled(b"\x11" * 32, b"\x22" * 32, 1000))
    same(order[:8], [457, 87, 335, 597, 873, 146, 664, 205])
    same(sorted(order), list(range(1000)))


def conflict(weights, opinions, options=2):
    """A conflict with the default bounds, its deadline at 100."""
    said = zip(NAMED.values(), weights, opinions)
    electors = [{"agent": one, "weight": weight, "opinion": option, "voided": False} for one, weight, option in said]
    bounds = {"threshold": 666_667, "participation_min": 333_333, "deadline": 100}
    return {**bounds, "options": [{}] * options, "electors": electors, "outcome": None}


def electors():
    """The table of docs/domain.md, and how much the heavier side would need to win at once."""
    agents = ((1_250_000, 900_000, HALF), (ONE, HALF, HALF), (750_000, 300_000, 800_000))
    table = {
        "Majority": ([ONE, 2 * ONE], 1), "Personality": ([1_250_000, 1_750_000], 1),
        "SocialInfluence": ([1_350_000, 1_290_000], 0),
    }
    for strategy, (weights, winner) in table.items():
        said = conflict([weight(strategy, *agent, cap=ONE) for agent in agents], (0, 1, 1))
        same(tally(said).weights, weights)
        same(decide(said, 99, [0, 1]), (winner, "AllSpoken"))
        same(decide(said, 100, [0, 1]), (winner, "Deadline"))
    powers = [weight("SocialInfluence", ONE, HALF, influence + 137_700, cap=ONE) for influence in (HALF, 900_000)]
    same(powers, [818_850, ONE])
    for least, by in ((2_000_001, "AllSpoken"), (2_000_002, "Threshold")):
        same(decide(conflict([3 * ONE - least, ONE, least - ONE], (0, 1, 1)), 0, [0, 1]), (1, by))


def endings():
    """Every other way in which a conflict is decided or is not, yet."""
    tied = conflict([ONE, ONE, ONE], (0, 1, None))
    same(decide(tied, 99, [0, 1]), None)
    same(decide(tied, 100, [0, 1]), (0, "Default"))
    same([decide(tied, 0, competing) for competing in ([], [1])], [(None, "Lapse"), (1, "Expiry")])
    tied["electors"][2].update(opinion=1, voided=True)
    same((tally(tied).all_spoken, tally(tied).participation), (True, 666_666))
    same(decide(tied, 99, [0, 1]), (0, "Default"))
    one = conflict([ONE] * 3, (1, None, None))
    same(decide(one, 100, [0, 1]), (1, "Deadline"))
    same(decide({**one, "participation_min": 333_334}, 100, [0, 1]), (0, "Default"))
    one["electors"][0].update(opinion=None, voided=True)
    same((tally(one).participation, decide(one, 100, [0, 1])), (0, (0, "Default")))
    few = conflict([ONE, 3 * ONE, ONE], (1, None, None))
    same(decide(few, 100, [0, 1]), (0, "Default"))
    same(decide(conflict([], ()), 0, [0, 1]), (0, "Default"))


def last_field():
    """A profile ends before the time of a betrayal that never was."""
    form = RECORDS["Agent"]
    profile = {
        "personality": PERSONALITY.names[0], "reputation": HALF, "influence": HALF, "status": "Active",
        "status_reason": "", "status_since": 1, "status_expected": None, "alliances": [], "registered_at": 1,
        "ordinal": 0,
    }
    data = encode(form, profile)
    same(decode(form, encode(form, {**profile, "betrayed_at": 7}))["betrayed_at"], 7)
    try:
        decode(form, b"\x9b" + data[1:] + b"\xc0")
    except Refused as refusal:
        same(refusal.code, "malformed")
    else:
        raise AssertionError("nil for what is to be left out")


def recounted(record):
    """The outcome of a conflict follows from its opinions, and another would not."""
    outcome = record["outcome"]
    same(agrees(record), outcome and True)
    if outcome is None:
        return
    total, early = outcome["total"], record["deadline"] - 1
    wrong = [{"total": total + 1}, {"weights": [total, 0]}, {"by": "AllSpoken"}, {"option": 0}, {"competing": [1, 0]}]
    # That an alliance was over is told by its own record alone, so a lapse may come at any time.
    wrong += [{"competing": [0, 2]}, {"competing": [1]}] + [{"at": early}] * (outcome["by"] == "Deadline")
    for change in wrong:
        same(agrees({**record, "outcome": {**outcome, **change}}), False)
