"""Authors that sign for themselves, and a visit to a node: everything it answers is checked and counted."""

import random
import time
from collections import Counter

from chaoschain_client.codec import Refused
from chaoschain_client.formats import Key, make_body, seal, transition_id
from chaoschain_client.proofs import verify
from chaoschain_client.reads import answer
from chaoschain_client.society import payload

VALID_FOR_US = 300_000_000


class Agent:
    """An author: a key, and the next nonce of lane 0."""

    def __init__(self, chain, rng):
        self.key = Key(rng.randbytes(32))
        self.id, self.chain, self.nonce = self.key.account, chain, 0

    @property
    def party(self):
        return self.id, self.key

    def body(self, kind, fields, **others):
        """A body's bytes; of a kind by name with the payload's fields, or by number with the payload's bytes."""
        kind, data = payload(kind, fields) if isinstance(kind, str) else (kind, fields)
        made = {"nonce": self.nonce, "valid_until": time.time_ns() // 1000 + VALID_FOR_US, **others}
        return make_body(made.pop("chain", self.chain), self.id, kind=kind, payload=data, **made)

    def draft(self, kind, fields, *others, **body):
        """An envelope with the next nonce, which is not used up; `others` are further agents that sign."""
        return seal(self.body(kind, fields, **body), self.party, *(other.party for other in others))

    def sign(self, kind, fields, *others, **body):
        """An envelope with the next nonce."""
        envelope = self.draft(kind, fields, *others, **body)
        self.nonce += 1
        return envelope


class Visit:
    """What was done and checked so far."""

    def __init__(self, node, other, trust, seed):
        """Everything is asked of `node`, and what must be the same everywhere also of `other`."""
        self.node, self.other, self.trust, self.rng = node, other, trust, random.Random(seed)
        self.counts, self.receipts, self.places, self.proofs = Counter(), {}, {}, []
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
        self.places[receipt["id"]] = receipt["height"], receipt["index"]
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

    def deny(self, code, agent, kind, fields, *others, **body):
        """A transition of this agent's is refused."""
        self.refuse(code, self.node.submit, agent.draft(kind, fields, *others, **body))

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
