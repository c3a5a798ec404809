"""Holds the client against the vectors: `python vectors.py ../../schemas/golden` prints how many of each file hold.

The examples of docs/domain.md are counted, too, and so are the vectors of its formulas, which are the society's own.
"""

import copy
import json
import sys
from pathlib import Path

import examples
import figures
from chaoschain_client import formats, society
from chaoschain_client.codec import Bytes, Flag, Int, List, Optional, Refused, Text, decode, encode
from chaoschain_client.formats import account_of, attachment, keyed, name_hash, open_envelope, tag
from chaoschain_client.proofs import Trust, verify, verify_evidence, verify_witness
from chaoschain_client.reads import answer
from chaoschain_client.society import KINDS, LAYOUT, RECORDS
from chaoschain_client.tree import Pruned, leaf_hash, node_hash, root_of, state_root
from examples import same

FORMULAS = "../../society/golden/formulas.json"
SPOILED_EVERY = 5
TYPES = {
    "unsigned": Int(), "signed": Int(-(2**63), 2**63 - 1), "flag": Flag(), "text": Text(), "bytes": Bytes(),
    "optional unsigned": Optional(Int()), "list of unsigned": List(Int()), "Role": formats.ROLE,
    "Body": formats.BODY, "Envelope": formats.ENVELOPE, "Receipt": formats.RECEIPT, "ErrorBody": formats.REFUSAL,
    "BatchSubmission": formats.BATCH, "Vec<BatchOutcome>": formats.OUTCOMES, "Header": formats.HEADER,
    "SealedBlock": formats.BLOCK, "Genesis": formats.GENESIS, "ProofFile": formats.PROOF_FILE,
    "Schedule": formats.SCHEDULE, "Attestation": formats.ATTESTATION, "SignedAttestation": formats.SIGNED_ATTESTATION,
    **{name: payload for name, (_, payload) in KINDS.items()}, **RECORDS,
    "parameters": society.PARAMETERS, "Personality": society.PERSONALITY, "AgentStatus": society.STATUS,
    "PurposeKind": society.PURPOSE_KIND, "AllianceState": society.ALLIANCE_STATE, "Benefit": society.BENEFIT,
    "AllianceEndCause": society.END_CAUSE, "InteractionKind": society.INTERACTION, "DramaKind": society.DRAMA,
    "DueKind": society.DUE, "MemeType": society.MEME_TYPE, "ReactionKind": society.REACTION,
    "ConflictKind": society.CONFLICT_KIND, "Strategy": society.STRATEGY, "ContestedField": society.FIELD,
    "DecidedBy": society.DECIDED_BY,
}
KERNEL_RECORDS = {
    1: formats.ACCOUNT, 2: formats.PARAMETERS, 3: society.PARAMETERS, 4: formats.VALIDATORS,
    5: formats.CHAIN_STATE, 6: formats.SCHEDULE,
}


def record_type(sub_tree, key):
    return RECORDS[LAYOUT[sub_tree, key[0]]] if sub_tree else KERNEL_RECORDS[key[0]]


def refused(code, check, *arguments):
    try:
        check(*arguments)
    except Refused as refusal:
        assert refusal.code in code, f"refused as {refusal}, not {code}"
    else:
        raise AssertionError(f"taken, not refused as {code}")


def written(kind, vector):
    """Bytes to JSON and JSON to bytes agree with the vector; the value."""
    data = bytes.fromhex(vector["hex"])
    value = decode(kind, data)
    same(kind.to_json(value), vector["json"])
    same(encode(kind, kind.from_json(vector["json"])), data)
    return value


def codec(vector):
    kind = TYPES[vector["as"]]
    if vector["type"] == "accepted":
        return written(kind, vector)
    data = bytes.fromhex(vector["hex"])
    data += data[-1:] * vector.get("last_byte_repeated", 0)
    # A list where bytes belong has two faults; either code is right.
    codes = ("malformed", "not_canonical") if vector["name"] == "a list for bytes" else (vector["error"],)
    return refused(codes, decode, proof_file(vector, kind), data)


def proof_file(vector, kind):
    one = kind is formats.PROOF_FILE and vector["hex"][2:4] == "01"
    return formats.PROOF_FILE_1 if one else kind


def of_society(vector):
    value = written(TYPES[vector["name"].split()[-1]], vector)
    if vector["name"] == "record Conflict":
        examples.recounted(value)


def transition(vector, state):
    keys = state["keys"]
    of = vector["type"]
    if of == "purpose":
        same(keyed(vector["word"], b"").hex(), vector["of_nothing"])
        same(keyed(vector["word"], b"abc").hex(), vector["of_abc"])
    elif of == "tag":
        same(tag(vector["word"]).hex(), vector["hex"])
    elif of == "key":
        key = formats.Key(bytes.fromhex(vector["seed"]))
        same((key.public.hex(), key.account.hex()), (vector["public"], vector["account"]))
        keys[key.public] = key
    elif of == "name":
        same(name_hash(vector["text"]).hex(), vector["hash"])
    elif of == "attachment":
        made = attachment(bytes.fromhex(vector["salt"]), bytes.fromhex(vector["payload"]))
        same(formats.ATTACHMENT.to_json(made), vector["json"])
    elif of == "Body":
        body = written(formats.BODY, vector)
        (payload,) = (kind for number, kind in KINDS.values() if number == body["kind"])
        same(payload.to_json(decode(payload, body["payload"])), vector["payload"])
        same(keyed("transition", bytes.fromhex(vector["hex"])).hex(), vector["id"])
    elif of == "Envelope":
        data = bytes.fromhex(vector["hex"])
        open_envelope(data)
        parties = [(bytes.fromhex(one["signer"]), keys[bytes.fromhex(one["key"])]) for one in vector["signatures"]]
        same(formats.seal(bytes.fromhex(vector["body"]), parties[0], *reversed(parties[1:])), data)
    elif vector["name"] == "submission":
        open_envelope(Bytes().from_json(vector["json"]["envelope"]))
    elif vector["name"] == "batch":
        data = encode(formats.BATCH, formats.BATCH.from_json(vector["json"]["envelopes"]))
        same(data.hex(), vector["hex"])
    else:
        written(TYPES[of], vector)


def block(vector, state):
    """Blocks and records in one file: the records must add up to the roots."""
    of = vector["type"]
    if of == "Genesis":
        written(formats.GENESIS, vector)
        document = bytes.fromhex(vector["hex"])
        same(keyed("genesis", document).hex(), vector["chain"])
        same(root_of({bytes(4): document}).hex(), vector["events_root"])
    elif of == "Header":
        header = written(formats.HEADER, vector)
        same(keyed("header", bytes.fromhex(vector["hex"])).hex(), vector["hash"])
        same(state_root(header["sub_roots"]), header["state_root"])
        state["hashes"][header["height"]] = bytes.fromhex(vector["hash"])
    elif of == "SealedBlock":
        sealed = decode(formats.BLOCK, bytes.fromhex(vector["hex"]))
        header = decode(formats.HEADER, sealed["header"])
        assert formats.signature_holds("header", sealed["key"], sealed["header"], sealed["signature"])
        same(account_of(sealed["key"]), header["producer"])
        same(root_of({n.to_bytes(4, "big"): event for n, event in enumerate(sealed["events"])}), header["events_root"])
        for event in sealed["events"] if header["height"] else ():
            open_envelope(event)
    elif of == "record":
        key, tree = bytes.fromhex(vector["key"]), vector["sub_tree"]
        written(record_type(tree, key), vector)
        same(keyed("value", bytes.fromhex(vector["hex"])).hex(), vector["value_hash"])
        state["records"].setdefault(tree, {})[key] = bytes.fromhex(vector["hex"])
    elif of == "roots":
        roots = [bytes.fromhex(root) for root in vector["sub_roots"]]
        for number in (0, 2, 3, 4):
            same(root_of(state["records"].get(number, {})), roots[number])
        same(state_root(roots).hex(), vector["state_root"])
        state["blocks_root"] = roots[1]
    elif of == "blocks":
        hashes = [bytes.fromhex(one) for one in vector["header_hashes"]]
        same(root_of({n.to_bytes(8, "big"): one for n, one in enumerate(hashes)}), state["blocks_root"])
        same(hashes[1:], [state["hashes"][height] for height in range(1, len(hashes))])
    else:
        raise AssertionError(f"an unknown type: {of}")


def merkle(trees):
    """The vectors of merkle.json, each as a check of its own."""
    unhex = bytes.fromhex
    for one in trees["hashes"]["value_hash"]:
        yield lambda one=one: same(keyed("value", unhex(one["value"])).hex(), one["hash"])
    for one in trees["hashes"]["leaf_hash"]:
        yield lambda one=one: same(leaf_hash(unhex(one["key"]), unhex(one["value_hash"])).hex(), one["hash"])
    for one in trees["hashes"]["node_hash"]:
        yield lambda one=one: same(node_hash(one["bit"], unhex(one["left"]), unhex(one["right"])).hex(), one["hash"])
    for tree in trees["trees"]:
        entries = {unhex(entry["key"]): unhex(entry["value"]) for entry in tree["entries"]}
        yield lambda tree=tree, entries=entries: same(root_of(entries).hex(), tree["root"])
        for proof in tree["proofs"]:

            def one_proof(tree=tree, proof=proof):
                pruned = Pruned(unhex(proof["bytes"]))
                same(pruned.root.hex(), tree["root"])
                for told in proof["answers"]:
                    found = pruned.find(unhex(told["key"]))
                    same("Absent" if found is None else f"Present({found.hex()})", told["answer"])

            yield one_proof
        for asked in tree["ranges"]:

            def one_range(tree=tree, entries=entries, asked=asked):
                pruned = Pruned(unhex(asked["bytes"]))
                same(pruned.root.hex(), tree["root"])
                start, end = unhex(asked["from"]), unhex(asked["to_inclusive"])
                inside = [key for key in sorted(entries) if start <= key <= end]
                same([key for key, _ in pruned.range(start, end, inclusive=True)], inside)
                if len(pruned.opened()) < len(entries):
                    refused(("not_shown",), pruned.range, b"\0", b"\xff")

            yield one_range
    blocks = trees["blocks"]
    hashes = [unhex(one) for one in blocks["header_hashes"]]
    for size, root in enumerate(blocks["roots_by_size"]):
        tree = {height.to_bytes(8, "big"): one for height, one in enumerate(hashes[:size])}
        yield lambda tree=tree, root=root: same(root_of(tree).hex(), root)

    def consistency():
        pruned = Pruned(unhex(blocks["consistency_of_4_and_7"]))
        same(pruned.root.hex(), blocks["roots_by_size"][7])
        same(pruned.cut(4).hex(), blocks["roots_by_size"][4])

    yield consistency
    sizes, frontier = (4, 2, 1), (7).to_bytes(8, "big")
    for first, size in zip((0, 4, 6), sizes):
        frontier += root_of({at.to_bytes(8, "big"): hashes[at] for at in range(first, first + size)})
    yield lambda: same(frontier.hex(), blocks["frontier_of_7"])


def question(proved):
    return proved.read, proved.arguments


def spoil(data, check, asked):
    """With a bit of any byte turned over a proof is refused, or is visibly one of another question."""
    for at in range(0, len(data), SPOILED_EVERY):
        wrong = bytearray(data)
        wrong[at] ^= 1 << at % 8
        try:
            told = check(bytes(wrong))
        except Refused:
            continue
        assert asked is not None and told != asked, f"taken with byte {at} spoiled"


def forge(state):
    """Lies that the producer itself signs, each caught by the one check that is there for it."""
    (producer,) = (state["keys"][key] for key in state["trust"].producers)
    final = "event: the second of block 2, final by block 3"

    def lie(code, name, tell):
        file = copy.deepcopy(state["files"][name])
        (told,) = (part for part in file["proof"].values() if part)
        header = decode(formats.HEADER, told["header"]["header"])
        tell(told, header)
        data = encode(formats.HEADER, header)
        told["header"] = {"header": data, "key": producer.public, "signature": producer.sign("header", data)}
        refused((code,), verify, encode(formats.PROOF_FILE, file), state["trust"])

    def unsigned_event(told, header):
        envelope = decode(formats.ENVELOPE, told["envelope"])
        envelope["signatures"][0]["signature"] = bytes(64)
        told["envelope"], told["index"] = encode(formats.ENVELOPE, envelope), 0
        told["tree"] = b"\1\0\4" + bytes(4) + keyed("value", told["envelope"])
        header["events_root"] = Pruned(told["tree"]).root

    later = {"timestamp": 1_800_000_000_000_000}
    lie("root_wrong", "read: account", lambda told, header: header.update(state_root=bytes(32)))
    del state["files"][final]["finality"]["attested"][0]  # the block itself: what is left is a descendant
    lie("finality_wrong", final, lambda told, header: header.update(later))
    lie("signature_invalid", "event: the first of block 2", unsigned_event)
    lie("chain_wrong", "read: account", lambda told, header: header.update(chain=bytes(32)))
    lie("index_wrong", "event: the last of block 2", lambda told, header: header.update(event_count=2))


def ill_formed():
    """Pruned trees that break one rule each, with a root that is right for them; none of them is among the vectors."""

    def leaf(key):
        return b"\1" + len(key).to_bytes(2, "big") + key + bytes(32)

    def node(bit, left, right):
        return b"\2" + bit.to_bytes(2, "big") + left + right

    one, zero = b"\0" + bytes(30) + b"\1", b"\0" + bytes(31)
    ant, bee, owl = leaf(b"ant"), leaf(b"bee"), leaf(b"owl")
    Pruned(node(4, node(6, ant, bee), owl))  # as it should be
    return {
        "a byte left over": ant + b"\0", "a byte missing": ant[:-1], "an unknown tag": b"\3",
        "an empty key": leaf(b""), "a long key": leaf(bytes(97)), "a hash of nothing": node(6, zero, bee),
        "a bit beyond every key": node(768, one, leaf(b"\xff" * 96)), "bits that fall": node(6, node(4, ant, one), owl),
        "one bit twice": node(6, one, node(6, one, bee)), "sides exchanged": node(6, bee, ant),
        "a key without the bit": node(8, leaf(b"a"), one), "a lone hash": one,
        "keys apart above their node": node(7, leaf(b"dog"), leaf(b"cat")),
        "nothing opened under a node": node(4, node(6, one, one), owl),
    }


def proof(vector, state):
    of = vector["type"]
    if of == "trust":
        state["trust"] = Trust.from_json(vector["json"])
        state["files"] = {}
    elif of == "ReadPoint":
        state["at"] = vector["json"]
    elif of == "ProofFile":
        kind, data = proof_file(vector, formats.PROOF_FILE), bytes.fromhex(vector["hex"])
        state["files"][vector["name"]] = file = written(kind, vector)
        if file["proof"]["read"] or file["proof"]["event"]:
            proved = verify(data, state["trust"])
            same(proved.label, "finalized" if file.get("finality") else "producer-signed")
            if file.get("finality"):  # holds without the producers, and not without enough of the validators
                trust = state["trust"]
                verify(data, Trust(trust.chain, set(), trust.validators))
                lone = dict(list(trust.validators.items())[:1])
                more = {**lone, (bytes(32), bytes(32)): 1}
                refused(("header_untrusted",), verify, data, Trust(trust.chain, set(), more))
            pinned = Trust(state["trust"].chain, set(), {}, proved.header_hash)
            same(verify(data, pinned).label, "pinned")
            if "answer" in vector:
                same(proved.header_hash.hex(), state["at"]["header_hash"])
                same(answer(proved), vector["answer"])
            spoil(data, lambda wrong: question(verify(wrong, state["trust"])), question(proved))
        else:
            same(verify_evidence(data, state["trust"])[2], 3)
            spoil(data, lambda wrong: verify_evidence(wrong, state["trust"]), None)
    else:
        written(TYPES[of], vector)


# What this client calls otherwise; what only the rules of events tell, it lets pass.
WITNESS_CODES = {
    "records_unordered": ("malformed", "not_canonical"), "record_value_wrong": ("record_wrong",),
    "tree_root_wrong": ("root_wrong",), "tree_malformed": ("proof_malformed",),
    "sub_tree_wrong": ("root_wrong", "malformed"), "blocks_root_wrong": ("root_wrong",),
    "header_signature_invalid": ("signature_invalid",), "witness_incomplete": ("not_shown", None),
    "state_root_wrong": (None,), "event_rejected": (None,), None: (None,),
}


def witness(vector, state):
    if vector["type"] == "trust":
        state["witness_trust"] = Trust.from_json(vector["json"])
        return
    code, told = vector.get("code"), None
    try:
        proved = verify_witness(bytes.fromhex(vector["hex"]), state["witness_trust"])
        for (sub_tree, key), value in proved.records.items():
            decode(record_type(sub_tree, key), value)
    except Refused as refusal:
        told = refusal.code
    assert told in WITNESS_CODES.get(code, (code,)), f"{told}, not {code}"
    if code is None:
        written(formats.WITNESS_FILE, vector)


def run(folder):
    """Counts of vectors that hold, by file; raises at the first that does not."""

    def load(file):
        return json.loads((Path(folder) / file).read_text(encoding="utf-8"))

    counts, state = {}, {"keys": {}, "hashes": {}, "records": {}}
    per_file = {
        "codec.json": lambda vector, _: codec(vector), "society.json": lambda vector, _: of_society(vector),
        "transition.json": transition, "genesis.json": block, "block.json": block, "proof-v1.json": proof,
        "proof.json": proof, "witness.json": witness, FORMULAS: lambda vector, _: figures.check(vector),
    }
    for file, check in per_file.items():
        for vector in load(file):
            try:
                check(vector, state)
            except Exception as error:
                name = vector.get("name") or vector.get("hex") or vector
                raise AssertionError(f"{file}: {name}: {error}") from error
            counts[Path(file).name] = counts.get(Path(file).name, 0) + 1
    forge(state)
    for name, tree in ill_formed().items():
        try:
            refused(("proof_malformed",), Pruned, tree)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    for check in merkle(load("merkle.json")):
        check()
        counts["merkle.json"] = counts.get("merkle.json", 0) + 1
    return {**counts, "domain.md": examples.check()}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
