"""A small society, and the first half of its story: it meets, forms an alliance, rates, publishes and keeps entries."""

from blake3 import blake3

from chaoschain_client import formats
from chaoschain_client.codec import decode
from chaoschain_client.formats import Key, keyed, seal
from chaoschain_client.formulas import HALF, met, strength
from chaoschain_client.society import RECORDS, SCORE

PERSONALITIES = ("Chaotic", "Chaotic", "Chaotic", "Chaotic", "Rational", "Emotional")


def submit_everything(visit, agents):
    """Registrations, an alliance, ratings and meetings; and what must be refused between them."""
    node, (ana, bob, cleo, dan, *_) = visit.node, agents
    registrations = [{"personality": personality} for personality in PERSONALITIES]
    chaotic = registrations[0]
    first = ana.sign("AgentRegistration", chaotic)
    visit.same(node.dry_run(first)["verdict"], "acceptable", "a dry run")
    visit.accept(first)
    visit.same(node.dry_run(first)["verdict"], "accepted", "a dry run of what was accepted")
    visit.accept(bob.sign("AgentRegistration", chaotic), as_json=True)
    others = [agent.sign("AgentRegistration", made) for agent, made in zip(agents[2:], registrations[2:])]
    unread = b"\x92\xc4\x00"
    for as_json in (False, True):  # the second time everything is a duplicate
        outcomes = node.submit_batch([*others, first, unread], as_json=as_json)
        for envelope, outcome in zip(others, outcomes):
            visit.check(outcome["error"] is None, f"{outcome['error']}")
            visit.accept(envelope, outcome["receipt"])
        visit.same(outcomes[-2]["receipt"], visit.receipts[first], "a duplicate in a batch")
        visit.same(outcomes[-1]["error"]["code"], "truncated", "a bad envelope in a batch")

    alliance = {
        "members": [cleo.id, ana.id, bob.id], "purpose": {"kind": "Other", "text": "tea"},
        "terms": {"duration": 86_400_000_000, "benefits": ["DramaBoost"], "conditions": ["share the pot"]},
        "exclusive": True,
    }
    visit.deny("cosignature_missing", ana, "AllianceFormation", alliance, bob)
    pact = visit.accept(ana.sign("AllianceFormation", alliance, cleo, bob))

    rating = {"subject": bob.id, "rating": 800_000}
    visit.accept(ana.sign("ReputationUpdate", rating))
    meeting = {"kind": "Rival", "targets": [ana.id, cleo.id], "content": None, "sentiment": -500_000, "drama": 4}
    visit.accept(bob.sign("SocialInteraction", meeting))
    visit.accept(ana.sign("CustomSet", {"namespace": "tea", "key": "sort", "value": b"green"}, occurred_at=1, lane=0))
    gone = {"namespace": "tea", "key": "none"}
    visit.accept(ana.sign("CustomSet", {**gone, "value": b""}))
    visit.accept(ana.sign("CustomDelete", gone))
    visit.deny("entry_unknown", ana, "CustomDelete", gone)
    content = {"hash": blake3(b"hello chaos").digest(), "size": 11}
    lists = {"references": [], "tags": ["classic"], "targets": [bob.id]}
    meme = {"content_type": "Text", "content": content, "inline": b"hello chaos", "metadata": "", **lists}
    meme = visit.accept(ana.sign("MemePublication", meme))
    influence = {"meme": meme, "impact": 400_000, "sentiment": -500_000, "affected": [dan.id]}
    visit.accept(bob.sign("MemeInfluence", influence))
    visit.accept(dan.sign("ReputationUpdate", {"subject": cleo.id, "rating": -1}, lane=5, nonce=0))
    dan.nonce -= 1

    new = Key(visit.rng.randbytes(32))
    rotation = cleo.body("KeyRotation", {"new_key": new.public})
    visit.accept(seal(rotation, cleo.party, (cleo.id, new)))
    cleo.nonce += 1
    old, cleo.key = cleo.key, new
    by_old_key = seal(cleo.body("CustomSet", {"namespace": "a", "key": "b", "value": b""}), (cleo.id, old))
    visit.refuse("key_wrong", node.submit, by_old_key)

    account = {"sub_tree": 0, "key": b"\x01" + ana.id}
    now = visit.read("account", ana.id.hex())[1].record(0, account["key"])
    refusals = {
        "nonce_used": {"nonce": 0}, "nonce_ahead": {"nonce": dan.nonce + 1}, "chain_wrong": {"chain": bytes(32)},
        "epoch_wrong": {"epoch": 1}, "expired": {"valid_until": 1}, "validity_too_long": {"valid_until": 2**62},
        "expectation_failed": {"expects": [{**account, "value": None}]},
    }
    for code, fields in refusals.items():
        visit.deny(code, dan, "ReputationUpdate", rating, **fields)
    expects = [{**account, "value": keyed("value", now)}]
    visit.accept(dan.sign("ReputationUpdate", rating, expects=expects))
    for code, kind, payload in (
        ("kind_unknown", 999, b"\x90"), ("malformed", 258, b"\x90"),
        ("self_directed", "ReputationUpdate", {"subject": dan.id, "rating": 0}),
        ("account_exists", "AccountRegistration", {}), ("agent_exists", "AgentRegistration", chaotic),
        ("validator_required", "Suspension", {"account": ana.id, "suspended": True, "reason": "no more tea"}),
        ("status_reserved", "StatusUpdate", {"status": "Suspended", "reason": "why not", "expected": None}),
        ("status_duration", "StatusUpdate", {"status": "Maintenance", "reason": "repairs", "expected": None}),
        ("out_of_range", "SocialInteraction", {**meeting, "drama": 11}),
    ):
        visit.deny(code, dan, kind, payload)
    visit.accept(dan.sign("StatusUpdate", {"status": "Maintenance", "reason": "repairs", "expected": 60_000_000}))
    broken = bytearray(first)
    broken[-1] ^= 1
    visit.refuse("signature_invalid", node.submit, bytes(broken))
    visit.refuse("trailing_bytes", node.submit, first + b"\0")
    return pact.hex(), meme.hex()


def read_everything(visit, agents, pact, meme):
    """Every read this client can answer for itself, inclusion and absence, and what domain.md says comes of it."""
    ana, bob, cleo, dan, *_ = agents
    nobody = "ee" * 32
    bob_now, _ = visit.read("agent", bob.id.hex())
    # Ana's and then Dan's 0.8: + 0.02 each; bob's own meeting moves nothing of his.
    visit.same(bob_now["reputation"], "0.54", "bob's reputation")
    visit.same(len(bob_now["alliances"]), 1, "bob's alliances")
    alliance, _ = visit.read("alliance", pact)
    boost = strength([HALF] * 3, [HALF] * 3, [HALF] * 3, 1, 1)  # what the alliance promised when bob met the others
    visit.same(alliance["strength_at_formation"], SCORE.to_json(boost), "the strength at formation")
    louder = SCORE.to_json(met(HALF, -HALF, 4, boost))
    views = ((ana, bob, "0.58"), (bob, ana, louder), (bob, cleo, louder), (dan, ana, "0.48"), (dan, cleo, "0.5"))
    for one, other, trust in views:
        view, _ = visit.read("relationship", one.id.hex(), other.id.hex())
        visit.same(view["trust"], trust, "trust")
    # Reputations 0.5, 0.54 and cleo's; views around the ring in the order of ids, 0.5 where there is none.
    now = float(alliance["strength"])
    visit.check(0.12 < now < 0.15, f"the strength of the alliance is {now}")
    told, _ = visit.read("meme", meme)
    visit.same((told["creator"], told["influence_count"]), (ana.id.hex(), 1), "a meme")
    entry, _ = visit.read("entry", ana.id.hex(), "tea", "sort")
    visit.same(entry["value"], "Z3JlZW4=", "an entry")
    visit.read("validators")
    visit.same(visit.read("agent", dan.id.hex())[0]["status_expected"], 60_000_000, "dan's repairs")
    for agent in agents:
        account, _ = visit.read("account", agent.id.hex())
        visit.same(account["nonces"][0], agent.nonce, "a nonce")
    absent = [(read, nobody) for read in ("account", "agent", "alliance", "meme")]
    absent += [("relationship", ana.id.hex(), cleo.id.hex()), ("entry", ana.id.hex(), "tea", "none")]
    absent += [("personality", nobody), ("conflict", nobody), ("open-conflict", nobody, "Status"), ("drama", "1", "0")]
    for question in absent:
        visit.same(visit.read(*question)[0], None, f"{question}")
        visit.refuse("absent", visit.node.read, *question)
    key = b"\x02" + ana.id + formats.name_hash("tea") + formats.name_hash("sort")
    _, proved = visit.read("record", "2", key.hex())
    entry = decode(RECORDS["Entry"], proved.record(2, key))
    visit.same(entry["value"], b"green", "an entry")
    key = b"\x03" + bytes(8)
    _, proved = visit.read("record", "agents", key.hex())
    visit.same(decode(RECORDS["AgentOrdinal"], proved.record(2, key))["agent"], ana.id, "the first agent")

    alone = visit.other.proof("validators", min_height=visit.height)
    visit.proved(alone, "validators")

    _, proved = visit.read("parameters")
    control = proved.parts[0]
    shown = [key for key, _ in control.range(b"\x02", b"\x03", inclusive=True)]
    visit.same(shown, [b"\x02", b"\x03"], "a complete range")
    visit.same(control.range(b"\x02\0", b"\x03"), [], "an empty range")
    visit.refuse("not_shown", control.range, b"\x01", b"\x05")
    visit.counts["ranges"] += 2
