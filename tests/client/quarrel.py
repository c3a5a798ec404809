"""The second half of the story: drama, reactions, an alliance left, betrayed and mended, and two conflicts."""

from chaoschain_client.codec import decode
from chaoschain_client.formulas import (
    HALF, betrayed, decayed, held, reacted, reaction_kind, strength, times, trust_after_reaction,
)
from chaoschain_client.society import RECORDS, SCORE, conflict_id

DAY = 86_400_000_000
score = SCORE.from_json


def quarrel(visit, agents, pact, meme):
    """All of it, on a chain whose agents may vote at once."""
    parameters, _ = visit.read("parameters")
    visit.same(parameters["domain"]["elector_age_min"], 0, "the parameter elector_age_min")
    told = []
    be_dramatic(visit, agents, told)
    react(visit, agents, meme, parameters["domain"]["meme_half_life"])
    break_up(visit, agents, told)
    contest_a_fact(visit, agents, parameters["domain"])
    contest_a_purpose(visit, agents, pact)
    list_dramas(visit, told)


def view(visit, one, other):
    """One agent's trust in another; a half where there is no view."""
    relationship, _ = visit.read("relationship", one.id.hex(), other.id.hex())
    return score(relationship["trust"]) if relationship else HALF


def profile(visit, agent):
    return visit.read("agent", agent.id.hex())[0]


def drama(visit, told, event, kind, agent, text, level, alliance=None):
    """What the read of a drama event says; it is kept for the list."""
    height, index = visit.places[event]
    found, _ = visit.read("drama", str(height), str(index))
    said = {name: found[name] for name in ("kind", "agent", "text", "level", "alliance")}
    wanted = {"kind": kind, "agent": agent.id.hex(), "text": text, "level": level, "alliance": alliance}
    visit.same(said, wanted, "a drama event")
    told.append(found)


def be_dramatic(visit, agents, told):
    ana, *_, dan, _, _ = agents
    cry = {"kind": "Chaos", "text": "hid every cup", "level": 7}
    visit.deny("drama_kind", dan, "DramaRecord", {**cry, "kind": "Betrayal"})
    visit.deny("out_of_range", dan, "DramaRecord", {**cry, "level": 11})
    drama(visit, told, visit.accept(dan.sign("DramaRecord", cry)), "Chaos", dan, "hid every cup", 7)
    shift = {"personality": "Lawful", "reason": "who will wash up?", "drama": 3}
    event = visit.accept(ana.sign("PersonalityShift", shift))
    drama(visit, told, event, "PersonalityShift", ana, shift["reason"], 3)
    visit.deny("personality_unchanged", ana, "PersonalityShift", shift)
    history, _ = visit.read("personality", ana.id.hex())
    visit.same((history["count"], history["old"], history["new"]), (1, "Chaotic", "Lawful"), "a shift")
    visit.same(profile(visit, ana)["personality"], "Lawful", "a personality")


def react(visit, agents, meme, half_life):
    """Each reaction moves meme, creator and the author's view as the formulas say."""
    ana, bob, _, dan, *_ = agents
    key = b"\x03" + bytes.fromhex(meme)

    def influence():
        return decode(RECORDS["InfluenceScore"], visit.read("record", "3", key.hex())[1].record(3, key))

    for author, given in ((bob, 900_000), (dan, 600_000)):
        before, trust = influence(), view(visit, author, ana)
        creator, own = (score(profile(visit, agent)["influence"]) for agent in (ana, author))
        visit.accept(author.sign("MemeReaction", {"meme": bytes.fromhex(meme), "score": given}))
        visit.deny("reaction_taken", author, "MemeReaction", {"meme": bytes.fromhex(meme), "score": 0})
        after, added = influence(), reacted(given, own, trust)
        was = decayed(before["value"], after["updated_at"] - before["updated_at"], half_life)
        visit.same(after["value"], held(was + added), "a meme's influence")
        kind = reaction_kind(given)[0].lower()
        visit.same(after["reactions"][kind], before["reactions"][kind] + 1, "the reactions")
        visit.same(score(profile(visit, ana)["influence"]), held(creator + times(added, 50_000)), "an influence")
        visit.same(view(visit, author, ana), trust_after_reaction(trust, given), "trust after a reaction")
    visit.deny("self_directed", ana, "MemeReaction", {"meme": bytes.fromhex(meme), "score": 0})
    told, _ = visit.read("meme", meme)
    visit.same((told["quality"], told["virality"]), ("0.75", "0.5"), "quality and virality")


def form(members, purpose, exclusive, benefits=()):
    terms = {"duration": DAY, "benefits": list(benefits), "conditions": []}
    return {"members": [one.id for one in members], "purpose": purpose, "terms": terms, "exclusive": exclusive}


def break_up(visit, agents, told):
    """An alliance of three is left by one, betrayed by another, and mended."""
    ana, *_, dan, eve, fay = agents
    crew = form((dan, eve, fay), {"kind": "Social", "text": None}, False, ["StakeBoost"])
    crew = visit.accept(dan.sign("AllianceFormation", crew, eve, fay))
    leave = {"alliance": crew, "reason": "too much tea", "drama": 6}
    visit.deny("not_member", ana, "AllianceDeparture", leave)
    visit.deny("alliance_unknown", eve, "AllianceDeparture", {**leave, "alliance": bytes(32)})
    event = visit.accept(eve.sign("AllianceDeparture", leave))
    drama(visit, told, event, "DramaticBreakup", eve, "too much tea", 6, crew.hex())
    alliance, _ = visit.read("alliance", crew.hex())
    pair = sorted((dan.id.hex(), fay.id.hex()))
    visit.same((alliance["members"], alliance["state"]), (pair, "Active"), "an alliance that one has left")
    visit.same(profile(visit, eve)["alliances"], [], "alliances of who left")

    trust = view(visit, dan, fay)
    betrayal = {"alliance": crew, "description": "sold the pot", "drama": 8}
    event = visit.accept(fay.sign("AllianceBetrayal", betrayal))
    drama(visit, told, event, "Betrayal", fay, "sold the pot", 8, crew.hex())
    alliance, proved = visit.read("alliance", crew.hex())
    end = alliance["end"]
    visit.same((alliance["state"], alliance["strength"]), ("Dissolved", "0"), "a betrayed alliance")
    visit.same((end["cause"], end["by"]), ("Betrayal", fay.id.hex()), "the end of an alliance")
    trust_then = betrayed(trust, 8)
    visit.same(view(visit, dan, fay), trust_then, "trust in a traitor")
    remembered = proved.header["rules"] >= 2
    visit.same(profile(visit, fay)["betrayed_at"], end["at"] if remembered else None, "the time of a betrayal")
    visit.deny("alliance_over", dan, "AllianceDeparture", {**leave, "alliance": crew})
    if remembered:
        watch = form((fay, eve), {"kind": "Defence", "text": None}, True)
        visit.deny("betrayal_remembered", fay, "AllianceFormation", watch, eve)

    mend = {"alliance": crew, "members": [dan.id, fay.id]}
    visit.deny("members_differ", dan, "AllianceReconciliation", {**mend, "members": [dan.id, eve.id]}, eve)
    event = visit.accept(dan.sign("AllianceReconciliation", mend, fay))
    drama(visit, told, event, "Reconciliation", dan, "", 0, crew.hex())
    mended = view(visit, dan, fay)
    visit.same(mended, trust_then + 50_000, "trust after a reconciliation")
    told_now = [profile(visit, agent) for agent in (dan, fay)]
    reputations, influences = ([score(one[name]) for one in told_now] for name in ("reputation", "influence"))
    alliance, _ = visit.read("alliance", crew.hex())
    again = strength(reputations, [mended, view(visit, fay, dan)], influences, 1, 1)
    visit.same((alliance["state"], alliance["end"]), ("Active", None), "an alliance that was mended")
    visit.same(score(alliance["strength_at_formation"]), again, "the strength of an alliance that was mended")


def conflict_now(visit, conflict, stage, agreement):
    """The conflict, whose record gives its id; the proof is enough to count again."""
    told, proved = visit.read("conflict", conflict)
    visit.same((told["stage"], told["tally"]["agrees"]), (stage, agreement), "how a conflict stands")
    record = decode(RECORDS["Conflict"], proved.record(3, b"\x06" + bytes.fromhex(conflict)))
    visit.same(conflict_id(record).hex(), conflict, "the id of a conflict")
    ids = [elector["agent"] for elector in told["electors"]]
    visit.same(ids, sorted(ids), "the order of electors")
    return told


def electors(told):
    return {elector["agent"]: elector["weight"] for elector in told["electors"]}


def contest_a_fact(visit, agents, parameters):
    """Dan says that bob is away. Four may vote, weighed by personality, and decide by threshold."""
    ana, bob, cleo, dan, eve, fay = agents

    def claim(agent, status):
        claims = [{"personality": None, "status": status, "reputation": None}]
        fact = {"agent": agent.id, "claims": claims}
        return {"fact": fact, "divergence": None, "strategy": "Personality", "reason": "not seen"}

    question = ("open-conflict", bob.id.hex(), "Status")
    visit.same(visit.read(*question)[0], None, "a conflict before it opens")
    visit.deny("claim_stands", dan, "ConflictReport", claim(bob, "Active"))
    visit.deny("claim_invalid", dan, "ConflictReport", claim(bob, "Maintenance"))
    visit.deny("self_directed", dan, "ConflictReport", claim(dan, "Inactive"))
    visit.accept(dan.sign("ConflictReport", claim(bob, "Inactive")))
    conflict = visit.read(*question)[0]["conflict"]
    now = conflict_now(visit, conflict, "Open", None)
    weights = parameters["personality_weights"]
    personalities = ((ana, "lawful"), (cleo, "chaotic"), (eve, "rational"), (fay, "emotional"))
    wanted = {one.id.hex(): score(weights[personality]["facts"]) for one, personality in personalities}
    visit.same(electors(now), wanted, "the electors")

    def opinion(option):
        return {"conflict": bytes.fromhex(conflict), "option": option}

    visit.deny("conflict_exists", eve, "ConflictReport", claim(bob, "Inactive"))
    visit.deny("report_open", dan, "ConflictReport", claim(ana, "Inactive"))
    visit.deny("elector_required", bob, "OpinionCast", opinion(0))
    visit.deny("option_unknown", ana, "OpinionCast", opinion(2))
    visit.deny("conflict_unknown", ana, "OpinionCast", {**opinion(0), "conflict": bytes(32)})
    visit.deny("conflict_undecided", dan, "ConflictResolution", {"conflict": bytes.fromhex(conflict)})
    for author, option in ((ana, 1), (cleo, 0), (cleo, 1), (eve, 1)):
        visit.accept(author.sign("OpinionCast", opinion(option)))
    visit.deny("opinion_taken", ana, "OpinionCast", opinion(1))
    visit.deny("opinion_voided", cleo, "OpinionCast", opinion(1))
    now = conflict_now(visit, conflict, "Open", None)
    visit.same((now["tally"]["weights"], now["tally"]["total"]), ([0, 2_500_000], 4_150_000), "a tally")
    visit.accept(fay.sign("OpinionCast", opinion(1)))
    visit.deny("conflict_decided", fay, "OpinionCast", opinion(0))
    now = conflict_now(visit, conflict, "Decided", True)
    outcome = now["outcome"]
    visit.same((outcome["option"], outcome["by"]), (1, "Threshold"), "an outcome")
    visit.same(outcome["weights"], [0, 3_400_000], "the weights in an outcome")
    away = profile(visit, bob)
    said = (away["status"], away["status_reason"], away["status_since"])
    visit.same(said, ("Inactive", "conflict", outcome["at"]), "a contested status")
    visit.same(visit.read(*question)[0], None, "a conflict that was decided")


def contest_a_purpose(visit, agents, pact):
    """A second exclusive alliance for the same tea. Two may vote, and disagree: the earlier one stands."""
    ana, bob, cleo, dan, eve, fay = agents
    tea = {"kind": "Other", "text": "tea"}
    rival = visit.accept(dan.sign("AllianceFormation", form((dan, cleo), tea, True), cleo)).hex()
    told = [visit.read("alliance", alliance)[0] for alliance in (pact, rival)]
    visit.same([one["state"] for one in told], ["Contested"] * 2, "alliances in conflict")
    conflict = told[0]["conflict"]
    visit.same(told[1]["conflict"], conflict, "the conflict of both")
    now = conflict_now(visit, conflict, "Open", None)
    visit.same([option["alliance"] for option in now["options"]], [pact, rival], "the options")
    visit.same(electors(now), {eve.id.hex(): 1_000_000, fay.id.hex(): 1_000_000}, "the electors")
    betray = {"alliance": bytes.fromhex(pact), "description": "went over", "drama": 0}
    visit.deny("alliance_contested", ana, "AllianceBetrayal", betray)
    visit.deny("alliance_contested", ana, "AllianceFormation", form((ana, eve), tea, True), eve)
    visit.deny("alliance_overlap", ana, "AllianceFormation", form((ana, dan), tea, True), dan)
    ask = {"conflict": bytes.fromhex(conflict)}
    visit.accept(eve.sign("OpinionCast", {**ask, "option": 0}))
    visit.deny("conflict_undecided", bob, "ConflictResolution", ask)
    visit.accept(fay.sign("OpinionCast", {**ask, "option": 1}))
    visit.same(conflict_now(visit, conflict, "Open", None)["tally"]["participation"], "1", "participation")
    visit.accept(bob.sign("ConflictResolution", ask))
    outcome = conflict_now(visit, conflict, "Decided", True)["outcome"]
    visit.same((outcome["option"], outcome["by"]), (0, "Default"), "an outcome")
    told = [visit.read("alliance", alliance)[0] for alliance in (pact, rival)]
    visit.same([one["state"] for one in told], ["Active", "Dissolved"], "alliances after a conflict")
    visit.same(told[1]["end"]["cause"], "Conflict", "the end of an alliance")
    visit.same(profile(visit, dan)["alliances"].count(rival), 0, "alliances of who lost")


def list_dramas(visit, told):
    """All at once, and page by page."""
    told.sort(key=lambda event: (event["height"], event["index"]))
    everything, _ = visit.read("dramas", "0", "256")
    visit.same(everything, {"events": told, "next": None}, "the drama")
    events, start = [], "0"
    while start is not None:
        page, _ = visit.read("dramas", start, "4")
        events, start = events + page["events"], page["next"]
    visit.same(events, told, "the drama page by page")
