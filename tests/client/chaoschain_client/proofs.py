"""Proof files: what a producer signed and what validators attest, checked with nothing but a trust file."""

from dataclasses import dataclass, field

from .blocks import CONTROL, follows, open_block
from .codec import decode, need
from .formats import (
    ATTESTATION, GENESIS, HEADER, PROOF_FILE, PROOF_FILE_1, WITNESS_FILE, keyed, open_envelope, signature_holds,
)
from .tree import Pruned, node_hash, state_root

BLOCKS = 1
ATTESTATIONS_MAX = 256
ANCESTOR_BYTES_MAX = 2283


@dataclass
class Trust:
    """What must be known from somewhere else; validators are `{(account, key): weight}`."""

    chain: bytes
    producers: set
    validators: dict
    header: bytes = None

    @classmethod
    def from_json(cls, json):
        """Reads a trust file."""
        validators = {
            (bytes.fromhex(one["account"]), bytes.fromhex(one["key"])): one["weight"]
            for one in json.get("validators", [])
        }
        producers = {bytes.fromhex(key) for key in json.get("producers", [])}
        header = bytes.fromhex(json["header"]) if json.get("header") else None
        need(producers or validators or header, "trust_empty", "nothing vouches for a header")
        return cls(bytes.fromhex(json["chain"]), producers, validators, header)


@dataclass
class Proved:
    """A proof that holds. `label` says who vouches for the header: `finalized`, `pinned` or `producer-signed`."""

    kind: str
    header: dict
    header_hash: bytes
    label: str
    parts: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)
    read: str = ""
    arguments: tuple = ()
    index: int = 0
    event: dict = None

    def record(self, sub_tree, key):
        """The value of a record, or `None` where the proof shows that there is none."""
        need(sub_tree in self.parts, "not_shown", f"nothing of sub-tree {sub_tree}")
        if self.parts[sub_tree].find(key) is None:
            return None
        need((sub_tree, key) in self.records, "not_shown", f"the value of {key.hex()}")
        return self.records[sub_tree, key]

    def first_keys(self, sub_tree, start, end, limit):
        """The first keys from `start` to `end`, both inclusive, at most `limit`, of which none is left out."""
        need(sub_tree in self.parts, "not_shown", f"nothing of sub-tree {sub_tree}")
        tree = self.parts[sub_tree]
        opened = [key for key, _ in tree.opened() if start <= key <= end]
        end = opened[limit - 1] if len(opened) >= limit else end
        return [key for key, _ in tree.range(start, end, inclusive=True)]


def verify(data, trust):
    """Checks a proof file of a read or an event, and its finality if there is one."""
    kind, proof, finality = _open(data)
    need(kind in ("read", "event"), "wrong_proof", f"evidence of {kind}, not a proof of an answer")
    proved = Proved(kind, *_believed(proof["header"], finality, trust))
    (_read if kind == "read" else _event)(proof, proved)
    return proved


def verify_evidence(data, trust):
    """Checks evidence; answers what was done (`equivocation` or `fork`), who signed (their keys), at which height."""
    kind, proof, finality = _open(data)
    need(kind in ("equivocation", "fork"), "wrong_proof", f"a proof of {kind}, not evidence")
    if kind == "fork":
        ours, theirs = proof["ours"], proof["theirs"]
        (one, one_hash), (two, two_hash) = _signed_header(ours, trust), _signed_header(theirs, trust)
        need(one["height"] == two["height"] and one_hash != two_hash, "evidence_wrong", "no fork")
        keys = {ours["key"], theirs["key"]}
        need(len(keys) == 1 or keys <= trust.producers, "key_untrusted", "not the keys of trusted producers")
        if finality is not None:
            _weigh(finality, one, one_hash, trust)
        return kind, keys, one["height"]
    need(finality is None, "finality_unexpected", "finality of an equivocation")
    first, second = proof["first"], proof["second"]
    one, two = _signed_attestation(first, trust), _signed_attestation(second, trust)
    same = (one["validator"], one["height"], first["key"]) == (two["validator"], two["height"], second["key"])
    need(same and one["header_hash"] != two["header_hash"], "evidence_wrong", "no equivocation")
    need((one["validator"], first["key"]) in trust.validators, "validator_unknown", one["validator"].hex())
    return kind, {first["key"]}, one["height"]


def _open(data):
    """The one proof of a file, of either version, and its finality."""
    file = decode(PROOF_FILE_1 if data[1:2] == b"\x01" else PROOF_FILE, data)
    ((kind, proof),) = ((kind, proof) for kind, proof in file["proof"].items() if proof is not None)
    return kind, proof, file.get("finality")


def _header(data, trust):
    header = decode(HEADER, data)
    need(header["chain"] == trust.chain, "chain_wrong", "a header of another chain")
    return header, keyed("header", data)


def _signed_header(signed, trust):
    header, header_hash = _header(signed["header"], trust)
    holds = signature_holds("header", signed["key"], signed["header"], signed["signature"])
    need(holds, "signature_invalid", "the header's signature")
    return header, header_hash


def _believed(signed, finality, trust):
    """A header that something vouches for, its hash and what that is."""
    header, header_hash = _signed_header(signed, trust)
    need(state_root(header["sub_roots"]) == header["state_root"], "root_wrong", "the state root")
    final = finality is not None and _weigh(finality, header, header_hash, trust)
    if final:
        return header, header_hash, "finalized"
    if header_hash == trust.header:
        return header, header_hash, "pinned"
    need(signed["key"] in trust.producers, "header_untrusted", "nothing trusted vouches for this header")
    return header, header_hash, "producer-signed"


def verify_witness(data, trust):
    """Checks what a witness shows of the state before its block, and that the block's header follows."""
    file = decode(WITNESS_FILE, data)
    proved = Proved("witness", *_believed(file["parent"], file["finality"], trust))
    need(all(part["sub_tree"] != BLOCKS for part in file["sub_trees"]), "root_wrong", "the tree of blocks as a part")
    block, header, _ = open_block(file["block"])
    _parts(file["sub_trees"], proved)
    _frontier(file["blocks"], proved.header)
    follows(block, header, proved.header, proved.header_hash, lambda key: proved.record(CONTROL, key))
    return proved


def _frontier(shown, parent):
    """The peaks of the tree of blocks give its root."""
    height, root = parent["height"], parent["sub_roots"][BLOCKS]
    logs = [log for log in range(63, -1, -1) if height >> log & 1]
    peaks = [shown[at : at + 31] for at in range(0, len(shown), 31)]
    need(len(peaks) == (len(logs) if len(logs) > 1 else 0), "root_wrong", "the number of peaks")
    if peaks:
        right = peaks.pop()
        for peak, log in zip(reversed(peaks), reversed(logs[:-1])):
            right = node_hash(63 - log, peak, right)
        need(right == root, "root_wrong", "the tree of blocks")


def _read(proof, proved):
    _parts(proof["sub_trees"], proved)
    proved.read, proved.arguments = proof["read"], tuple(proof["arguments"])


def _parts(sub_trees, proved):
    roots = proved.header["sub_roots"]
    for part in sub_trees:
        number, tree = part["sub_tree"], Pruned(part["tree"])
        need(number < len(roots) and tree.root == roots[number], "root_wrong", f"the root of sub-tree {number}")
        for record in part["records"]:
            present = tree.find(record["key"]) == keyed("value", record["value"])
            need(present, "record_wrong", f"the record {record['key'].hex()}")
            proved.records[number, record["key"]] = record["value"]
        proved.parts[number] = tree


def _event(proof, proved):
    header, tree = proved.header, Pruned(proof["tree"])
    need(tree.root == header["events_root"], "root_wrong", "the events' root")
    need(proof["index"] < header["event_count"], "index_wrong", "an index beyond the block")
    shown = tree.find(proof["index"].to_bytes(4, "big"))
    need(shown == keyed("value", proof["envelope"]), "record_wrong", "not this envelope")
    if header["height"] == 0:
        need(keyed("genesis", proof["envelope"]) == header["chain"], "chain_wrong", "not the chain's genesis")
        proved.event = decode(GENESIS, proof["envelope"])
    else:
        proved.event = open_envelope(proof["envelope"])
    proved.index = proof["index"]


def _signed_attestation(signed, trust):
    attestation = decode(ATTESTATION, signed["attestation"])
    need(attestation["chain"] == trust.chain, "chain_wrong", "an attestation of another chain")
    holds = signature_holds("attestation", signed["key"], signed["attestation"], signed["signature"])
    need(holds, "signature_invalid", "an attestation's signature")
    return attestation


def _weigh(finality, header, header_hash, trust):
    """Whether more than two thirds of the trusted weight attest this header or a descendant; all else must hold."""
    count = sum(len(group["attestations"]) for group in finality["attested"])
    need(1 <= count <= ATTESTATIONS_MAX, "finality_wrong", f"{count} attestations")
    attesters = set()
    for group in finality["attested"]:
        attested, attested_hash = _header(group["header"], trust)
        if attested_hash != header_hash or group["ancestor"]:
            need(attested["height"] > header["height"], "finality_wrong", "attested below the proved height")
            need(len(group["ancestor"]) <= ANCESTOR_BYTES_MAX, "finality_wrong", "a long way to the ancestor")
            tree = Pruned(group["ancestor"])
            need(tree.root == attested["sub_roots"][BLOCKS], "root_wrong", "the root of the blocks")
            shown = tree.find(header["height"].to_bytes(8, "big"))
            need(shown == keyed("value", header_hash), "finality_wrong", "the header is no ancestor")
        for signed in group["attestations"]:
            attestation = _signed_attestation(signed, trust)
            of = (attestation["height"], attestation["header_hash"])
            need(of == (attested["height"], attested_hash), "finality_wrong", "an attestation of another block")
            attesters.add((attestation["validator"], signed["key"]))
    weight = sum(weight for validator, weight in trust.validators.items() if validator in attesters)
    return 3 * weight > 2 * sum(trust.validators.values())
