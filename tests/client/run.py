"""Works a running node as a stranger would, and checks everything it answers; prints one JSON line of counts.

    python run.py --node http://127.0.0.1:4280 --trust trust.json [--nats nats://127.0.0.1:4222] [--final] [--seed 7]

The trust file is the JSON one of docs/format.md. Ends with 1 at the first thing that is not as documented.
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

from blake3 import blake3

from chaoschain_client import formats
from chaoschain_client.codec import Refused, decode, encode
from chaoschain_client.formats import Key, keyed, make_body, seal, transition_id
from chaoschain_client.node import NatsNode, Node
from chaoschain_client.proofs import Trust, verify
from chaoschain_client.reads import answer
from chaoschain_client.tree import root_of, state_root

MUTATIONS = 400
VALID_FOR_US = 300_000_000


class Agent:
    """An author: a key, and the next nonce of lane 0."""

    def __init__(self, chain, rng):
        self.key = Key(rng.randbytes(32))
        self.id, self.chain, self.nonce = self.key.account, chain, 0

    def body(self, kind, payload, **fields):
        made = {"nonce": self.nonce, "valid_until": time.time_ns() // 1000 + VALID_FOR_US, **fields}
        return make_body(made.pop("chain", self.chain), self.id, kind=kind, payload=payload, **made)

    def sign(self, kind, payload, *others, **fields):
        """An envelope with the next nonce."""
        envelope = seal(self.body(kind, payload, **fields), (self.id, self.key), *others)
        self.nonce += 1
        return envelope


class Visit:
    """What was done and checked so far."""

    def __init__(self, node, other, trust, seed):
        """Everything is asked of `node`, and what must be the same everywhere also of `other`."""
        self.node, self.other, self.trust, self.rng = node, other, trust, random.Random(seed)
        self.counts, self.receipts, self.proofs = Counter(), {}, []
        self.height = 0

    def check(self, fact, what):
        if not fact:
            raise AssertionError(what)

    def same(self, one, two, what):
        self.check(one == two, f"{what}: {one!r} is not {two!r}")

    def accept(self, envelope, receipt=None, **how):
        """Submits; submitting the same bytes another way must give the same receipt."""
        receipt = receipt or self.node.submit(envelope, **how)
        self.same(receipt["id"], transition_id(envelope), "the id of a receipt")
        for node in (self.node, self.other):
            again = node.submit(envelope, as_json=not how.get("as_json", False))
            self.same(again, receipt, "the receipt of a duplicate")
        self.counts.update(accepted=envelope not in self.receipts, duplicates=1)
        self.receipts[envelope] = receipt
        self.height = max(self.height, receipt["height"])
        return receipt["id"]

    def refuse(self, code, ask, *arguments, **how):
        try:
            ask(*arguments, **how)
        except Refused as refusal:
            self.same(refusal.code, code, refusal.message)
        else:
            raise AssertionError(f"taken, not refused as {code}")
        self.counts["refused"] += 1

    def read(self, *path, **parameters):
        """A read whose proof holds and gives the answer of the node; the answer and what was proved."""
        asked = {"min_height": self.height, **parameters}
        told = self.node.read(*path, proof=True, **asked)
        proved = self.proved(told["proof"], *path)
        self.same(proved.header_hash.hex(), told["at"]["header_hash"], "the header of a read")
        if path[0] != "record":
            self.same(answer(proved), told["value"], f"the answer to {path}")
        self.counts["absent" if told["value"] is None else "reads"] += 1
        return told["value"], proved

    def proved(self, data, *question):
        proved = verify(data, self.trust)
        if proved.kind == "read":
            self.same((proved.read, *proved.arguments), question, "the question of a proof")
        self.proofs.append((data, proved))
        return proved


def submit_everything(visit, agents):
    """Registrations, an alliance, ratings and meetings; and what must be refused between them."""
    node, (ana, bob, cleo, dan) = visit.node, agents
    chaotic = {"personality": "Chaotic"}
    first = ana.sign("AgentRegistration", chaotic)
    visit.same(node.dry_run(first)["verdict"], "acceptable", "a dry run")
    visit.accept(first)
    visit.same(node.dry_run(first)["verdict"], "accepted", "a dry run of what was accepted")
    visit.accept(bob.sign("AgentRegistration", chaotic), as_json=True)
    pair = [agent.sign("AgentRegistration", chaotic) for agent in (cleo, dan)]
    unread = b"\x92\xc4\x00"
    for as_json in (False, True):  # the second time everything is a duplicate
        outcomes = node.submit_batch([*pair, first, unread], as_json=as_json)
        for envelope, outcome in zip(pair, outcomes):
            visit.check(outcome["error"] is None, f"{outcome['error']}")
            visit.accept(envelope, outcome["receipt"])
        visit.same(outcomes[2]["receipt"], visit.receipts[first], "a duplicate in a batch")
        visit.same(outcomes[3]["error"]["code"], "truncated", "a bad envelope in a batch")

    alliance = {
        "members": [cleo.id, ana.id, bob.id], "purpose": {"kind": "Other", "text": "tea"},
        "terms": {"duration": 86_400_000_000, "benefits": ["DramaBoost"], "conditions": ["share the pot"]},
        "exclusive": True,
    }
    nonce = ana.nonce
    lonely = ana.sign("AllianceFormation", alliance, (bob.id, bob.key))
    visit.refuse("cosignature_missing", node.submit, lonely)
    ana.nonce = nonce
    pact = visit.accept(ana.sign("AllianceFormation", alliance, (cleo.id, cleo.key), (bob.id, bob.key)))

    rating = {"subject": bob.id, "rating": 800_000}
    visit.accept(ana.sign("ReputationUpdate", rating))
    meeting = {"kind": "Rival", "targets": [ana.id, cleo.id], "content": None, "sentiment": -500_000, "drama": 4}
    visit.accept(bob.sign("SocialInteraction", meeting))
    visit.accept(ana.sign("CustomSet", {"namespace": "tea", "key": "sort", "value": b"green"}, occurred_at=1, lane=0))
    content = {"hash": blake3(b"hello chaos").digest(), "size": 11}
    lists = {"references": [], "tags": ["classic"], "targets": [bob.id]}
    meme = {"content_type": "Text", "content": content, "inline": b"hello chaos", "metadata": "", **lists}
    meme = visit.accept(ana.sign("MemePublication", meme))
    influence = {"meme": meme, "impact": 400_000, "sentiment": -500_000, "affected": [dan.id]}
    visit.accept(bob.sign("MemeInfluence", influence))
    visit.accept(dan.sign("ReputationUpdate", {"subject": cleo.id, "rating": -1}, lane=5, nonce=0))
    dan.nonce -= 1

    new = Key(visit.rng.randbytes(32))
    visit.accept(cleo.sign("KeyRotation", {"new_key": new.public}, (cleo.id, new)))
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
        visit.refuse(code, node.submit, seal(dan.body("ReputationUpdate", rating, **fields), (dan.id, dan.key)))
    expects = [{**account, "value": keyed("value", now)}]
    visit.accept(dan.sign("ReputationUpdate", rating, expects=expects))
    for code, kind, payload in (
        ("kind_unknown", 999, b"\x90"), ("malformed", 258, b"\x90"),
        ("self_directed", "ReputationUpdate", {"subject": dan.id, "rating": 0}),
        ("account_exists", "AccountRegistration", {}), ("agent_exists", "AgentRegistration", chaotic),
    ):
        visit.refuse(code, node.submit, seal(dan.body(kind, payload), (dan.id, dan.key)))
    broken = bytearray(first)
    broken[-1] ^= 1
    visit.refuse("signature_invalid", node.submit, bytes(broken))
    visit.refuse("trailing_bytes", node.submit, first + b"\0")
    return pact.hex(), meme.hex()


def read_everything(visit, agents, pact, meme):
    """Every read this client can answer for itself, inclusion and absence, and what domain.md says comes of it."""
    ana, bob, cleo, dan = agents
    nobody = "ee" * 32
    bob_now, _ = visit.read("agent", bob.id.hex())
    # Ana's and then Dan's 0.8: + 0.02 each; bob's own meeting moves nothing of his.
    visit.same(bob_now["reputation"], "0.54", "bob's reputation")
    visit.same(len(bob_now["alliances"]), 1, "bob's alliances")
    views = ((ana, bob, "0.58"), (bob, ana, "0.43"), (bob, cleo, "0.43"), (dan, ana, "0.48"), (dan, cleo, "0.5"))
    for one, other, trust in views:
        view, _ = visit.read("relationship", one.id.hex(), other.id.hex())
        visit.same(view["trust"], trust, "trust")
    strength = visit.read("alliance", pact)[0]["strength"]
    # Reputations 0.5, 0.54 and cleo's; views around the ring in the order of ids, 0.5 where there is none.
    visit.check(0.12 < float(strength) < 0.15, f"the strength of the alliance is {strength}")
    told, _ = visit.read("meme", meme)
    visit.same((told["creator"], told["influence_count"]), (ana.id.hex(), 1), "a meme")
    entry, _ = visit.read("entry", ana.id.hex(), "tea", "sort")
    visit.same(entry["value"], "Z3JlZW4=", "an entry")
    visit.read("validators")
    for agent in agents:
        account, _ = visit.read("account", agent.id.hex())
        visit.same(account["nonces"][0], agent.nonce, "a nonce")
    absent = [(read, nobody) for read in ("account", "agent", "alliance", "meme")]
    absent += [("relationship", ana.id.hex(), cleo.id.hex()), ("entry", ana.id.hex(), "tea", "none")]
    for question in absent:
        visit.same(visit.read(*question)[0], None, f"{question}")
        visit.refuse("absent", visit.node.read, *question)
    key = b"\x02" + ana.id + formats.name_hash("tea") + formats.name_hash("sort")
    _, proved = visit.read("record", "2", key.hex())
    entry = decode(formats.RECORDS["Entry"], proved.record(2, key))
    visit.same(entry["value"], b"green", "an entry")

    alone = visit.other.proof("validators", min_height=visit.height)
    visit.proved(alone, "validators")

    _, proved = visit.read("parameters")
    control = proved.parts[0]
    shown = [key for key, _ in control.range(b"\x02", b"\x03", inclusive=True)]
    visit.same(shown, [b"\x02", b"\x03"], "a complete range")
    visit.same(control.range(b"\x02\0", b"\x03"), [], "an empty range")
    visit.refuse("not_shown", control.range, b"\x01", b"\x05")
    visit.counts["ranges"] += 2


def read_history(visit):
    """Every event by its proof; every block byte by byte, from genesis to the head of the last read."""
    node, trust = visit.node, visit.trust
    for envelope, receipt in visit.receipts.items():
        place = (receipt["height"], receipt["index"])
        for path in (place, ("by-id", receipt["id"].hex())):
            told = node.read("events", *path, proof=True)
            proved = visit.proved(told["proof"])
            visit.same((proved.header["height"], proved.index), place, "the place of an event")
            visit.same(proved.header_hash, receipt["header_hash"], "the block of an event")
            visit.same(proved.event, decode(formats.BODY, decode(formats.ENVELOPE, envelope)["body"]), "an event")
            visit.counts["events"] += 1
    hashes = []
    for height in range(visit.height + 1):
        block = decode(formats.BLOCK, node.raw_block(height))
        header = decode(formats.HEADER, block["header"])
        visit.check(block["key"] in trust.producers, "a block of no trusted producer")
        holds = formats.signature_holds("header", block["key"], block["header"], block["signature"])
        visit.check(holds, f"the signature of block {height}")
        events = {index.to_bytes(4, "big"): event for index, event in enumerate(block["events"])}
        visit.same((header["height"], header["chain"]), (height, trust.chain), "a block's place")
        visit.same(header["parent"], hashes[-1] if hashes else bytes(32), "a parent")
        visit.same((header["event_count"], header["events_root"]), (len(events), root_of(events)), "events")
        visit.same(header["state_root"], state_root(header["sub_roots"]), "a state root")
        before = {at.to_bytes(8, "big"): one for at, one in enumerate(hashes)}
        visit.same(header["sub_roots"][1], root_of(before), "the root of the blocks")
        if height == 0:
            visit.same(keyed("genesis", block["events"][0]), trust.chain, "the chain's id")
            visit.same(header["sub_roots"][0], genesis_root(block["events"][0]), "the root of genesis")
        hashes.append(keyed("header", block["header"]))
        visit.counts["blocks"] += 1


def genesis_root(document):
    """The control sub-tree that a genesis document makes."""
    genesis = decode(formats.GENESIS, document)
    at, accounts = genesis["timestamp"], genesis["accounts"]
    records = {
        b"\x01" + formats.account_of(one["key"]): encode(
            formats.ACCOUNT,
            {
                "key": one["key"], "role": one["role"], "suspended": False, "registered_at": at,
                "last_activity": at, "nonces": [0] * 16, "sponsorships": one["sponsorships"],
                "window_start": 0, "window_events": 0,
            },
        )
        for one in accounts
    }
    validators = [{"account": formats.account_of(one["key"]), "weight": one["weight"]} for one in accounts]
    members = sorted((one for one in validators if one["weight"]), key=lambda one: one["account"])
    records[b"\x02"] = encode(formats.PARAMETERS, genesis["parameters"])
    records[b"\x03"] = genesis["domain_parameters"]
    records[b"\x04"] = encode(formats.VALIDATORS, {"members": members, "since": 0})
    producers = sum(one["role"] == "Producer" for one in accounts)
    chain = {"epoch": 0, "rules": genesis["rules"], "producers": producers, "weight_suspended": 0}
    records[b"\x05"] = encode(formats.CHAIN_STATE, chain)
    return root_of(records)


def mutate_proofs(visit):
    """Proofs with one thing wrong are refused, or are visibly proofs of something else."""
    for _ in range(MUTATIONS):
        data, proved = visit.rng.choice(visit.proofs)
        wrong = bytearray(data)
        at = visit.rng.randrange(len(wrong))
        how = visit.rng.randrange(4)
        if how == 0:
            del wrong[at]
        elif how == 1:
            wrong.insert(at, visit.rng.randrange(256))
        elif how == 2:
            del wrong[at:]
        else:
            wrong[at] ^= 1 << visit.rng.randrange(8)
        if wrong == data:  # a byte inserted beside its like
            continue
        try:
            other = verify(bytes(wrong), visit.trust)
        except Refused:
            visit.counts["mutations"] += 1
            continue
        asked, told = (proved.read, proved.arguments), (other.read, other.arguments)
        visit.check(asked != told, f"a proof with {how} at {at} was taken: {bytes(wrong).hex()}")
        visit.counts["mutations"] += 1


def read_final(visit, agents):
    """Reads of the finalized state, attested by more than two thirds of the validators' weight."""
    for agent in agents:
        how = {"finality": "finalized", "min_height": visit.height, "patience_ms": 15_000}
        told = visit.node.read("agent", agent.id.hex(), proof=True, **how)
        visit.same(told["label"], "finalized", "a label")
        proved = visit.proved(told["proof"], "agent", agent.id.hex())
        visit.same(proved.label, "finalized", "who vouches for a final answer")
        visit.same(answer(proved), told["value"], "a final answer")
        visit.counts["final"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", required=True, help="URL of the node")
    parser.add_argument("--trust", required=True, help="trust file, JSON")
    parser.add_argument("--nats", help="URL of a NATS server; submissions and reads go there")
    parser.add_argument("--final", action="store_true", help="validators attest this chain: ask for finalized state")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="of keys and mutations")
    options = parser.parse_args()
    trust = Trust.from_json(json.loads(Path(options.trust).read_text(encoding="utf-8")))
    over_http = Node(options.node)
    node = NatsNode(options.nats, trust.chain) if options.nats else over_http
    visit = Visit(node, over_http, trust, options.seed)
    agents = [Agent(trust.chain, visit.rng) for _ in range(4)]
    try:
        pact, meme = submit_everything(visit, agents)
        read_everything(visit, agents, pact, meme)
        read_history(visit)
        if options.final:
            read_final(visit, agents)
        mutate_proofs(visit)
    except Exception as error:
        raise SystemExit(f"seed {options.seed}: {type(error).__name__}: {error}") from error
    print(json.dumps({"seed": options.seed, **visit.counts}, sort_keys=True))


if __name__ == "__main__":
    main()
