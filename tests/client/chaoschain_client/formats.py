"""The documents of docs/format.md, the hashes, and what is signed."""

import nacl.exceptions
import nacl.signing
from blake3 import blake3

from .codec import Bytes, Enumeration, Flag, Int, List, Optional, Structure, Text, decode, encode, need

KIB = 1024
NOTHING = bytes(32)
PURPOSES = ("leaf", "node", "value", "transition", "header", "genesis", "attachment", "name", "conflict", "draw")
_KEYS = {purpose: blake3(b"ChaosChain v1 " + purpose.encode()).digest() for purpose in PURPOSES}

U8, U16, U32, U64 = (Int(0, 2**bits - 1) for bits in (8, 16, 32, 64))
VERSION_1 = Int(1, 1)
ID, HASH, PUBLIC_KEY, SIGNATURE = Bytes(32), Bytes(32), Bytes(32), Bytes(64)
ADDRESS = Structure({"height": U64, "index": U32})
ROLE = Enumeration("Member", "Producer", "Validator")


def keyed(purpose, data):
    """H(purpose, data)."""
    return blake3(data, key=_KEYS[purpose]).digest()


def name_hash(text):
    return keyed("name", text.encode())[:16]


def tag(word):
    return b"ChaosChain-Ed25519 " + word.encode() + b" v1\0"


def account_of(first_key):
    return blake3(first_key).digest()


def signature_holds(word, key, data, signature):
    try:
        nacl.signing.VerifyKey(key).verify(tag(word) + data, signature)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.CryptoError, ValueError):
        return False
    return True


class Key:
    """A secret key and the account that it is the first key of."""

    def __init__(self, seed):
        self._secret = nacl.signing.SigningKey(seed)
        self.public = bytes(self._secret.verify_key)
        self.account = account_of(self.public)

    def sign(self, word, data):
        return self._secret.sign(tag(word) + data).signature


# Transitions

EXPECTATION = Structure({"sub_tree": U8, "key": Bytes(most=96), "value": Optional(HASH)})
ATTACHMENT = Structure({"commitment": HASH, "size": U64})
BODY = Structure(
    {
        "version": VERSION_1, "chain": ID, "epoch": U64, "author": ID, "lane": Int(0, 15), "nonce": U64,
        "valid_until": U64, "occurred_at": Optional(U64), "correlation": Optional(Bytes(16)),
        "causation": Optional(ID), "expects": List(EXPECTATION, most=8), "attachment": Optional(ATTACHMENT),
        "kind": U16, "payload": Bytes(most=128 * KIB, too_long="too_large"),
    },
    bytes_max=132 * KIB,
)
PARTY = Structure({"signer": ID, "key": PUBLIC_KEY, "signature": SIGNATURE})


def _further_ascend(envelope):
    further = [(party["signer"], party["key"]) for party in envelope["signatures"][1:]]
    need(all(a < b for a, b in zip(further, further[1:])), "malformed", "further signatures out of order")


ENVELOPE = Structure(
    {"body": Bytes(), "signatures": List(PARTY, most=64, least=1)}, bytes_max=144 * KIB, rule=_further_ascend
)
RECEIPT = Structure({"id": ID, "height": U64, "index": U32, "header_hash": HASH})
REFUSAL = Structure({"code": Text(), "message": Text(), "retry_after_ms": Optional(U64)})
BATCH = List(Bytes(), most=1024)
OUTCOMES = List(Structure({"receipt": Optional(RECEIPT), "error": Optional(REFUSAL)}), most=1024)


def attachment(salt, payload):
    return {"commitment": keyed("attachment", salt + payload), "size": len(payload)}


def make_body(chain, author, nonce, valid_until, kind, payload, **fields):
    """A body's bytes; `kind` is a kind's number, `payload` its bytes."""
    body = {
        "version": 1, "chain": chain, "epoch": 0, "author": author, "lane": 0, "nonce": nonce,
        "valid_until": valid_until, "occurred_at": None, "correlation": None, "causation": None, "expects": [],
        "attachment": None, "kind": kind, "payload": payload,
    }
    return encode(BODY, {**body, **fields})


def seal(body, author, *others):
    """The envelope of a body: each party is (account id, key), the author first, the others in any order."""
    parties = [
        {"signer": signer, "key": key.public, "signature": key.sign("transition", body)}
        for signer, key in (author, *others)
    ]
    parties[1:] = sorted(parties[1:], key=lambda party: (party["signer"], party["key"]))
    return encode(ENVELOPE, {"body": body, "signatures": parties})


def transition_id(envelope):
    return keyed("transition", decode(ENVELOPE, envelope)["body"])


def open_envelope(data):
    """The body of an envelope whose every signature holds."""
    envelope = decode(ENVELOPE, data)
    body = decode(BODY, envelope["body"])
    for party in envelope["signatures"]:
        holds = signature_holds("transition", party["key"], envelope["body"], party["signature"])
        need(holds, "signature_invalid", f"the signature of {party['signer'].hex()}")
    return body


# Blocks

HEADER = Structure(
    {
        "version": VERSION_1, "chain": ID, "epoch": U64, "rules": U16, "height": U64, "parent": HASH,
        "timestamp": U64, "producer": ID, "event_count": U32, "events_root": HASH, "state_root": HASH,
        "sub_roots": List(HASH, most=16),
    },
    bytes_max=4 * KIB,
)
BLOCK = Structure(
    {"header": Bytes(), "key": PUBLIC_KEY, "signature": SIGNATURE, "events": List(Bytes(), most=8192)},
    bytes_max=900 * KIB,
)
SECOND, DAY = 10**6, 24 * 3600 * 10**6
PARAMETERS = Structure(
    {
        "time_step_max": Int(3600 * SECOND, 100 * 365 * DAY), "valid_until_max": Int(SECOND, 365 * DAY),
        "registration": Enumeration("Open", "Sponsored"), "author_events_max": U32,
        "author_window": Int(SECOND, DAY),
    }
)
GENESIS_ACCOUNT = Structure({"key": PUBLIC_KEY, "role": ROLE, "weight": U64, "sponsorships": U32})


def _genesis_rule(genesis):
    name = genesis["name"].encode()
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    need(1 <= len(name) <= 64 and all(letter in letters for letter in name), "malformed", "the chain's name")
    roles = [account["role"] for account in genesis["accounts"]]
    need("Producer" in roles, "malformed", "no producer")
    weight = sum(account["weight"] for account in genesis["accounts"])
    need(weight < 2**64, "malformed", "the validators' weights together")
    validators = [account for account in genesis["accounts"] if account["weight"]]
    need(len(validators) <= 256, "malformed", "too many validators")


GENESIS = Structure(
    {
        "version": VERSION_1, "name": Text(), "domain": Text(), "rules": Int(1, 2**16 - 1),
        "sub_trees": List(Text(), most=14), "timestamp": U64, "parameters": PARAMETERS,
        "domain_parameters": Bytes(most=3 * KIB),
        "accounts": List(GENESIS_ACCOUNT, ascending=lambda account: account["key"]),
    },
    bytes_max=512 * KIB, rule=_genesis_rule,
)

# Records of the kernel

ACCOUNT = Structure(
    {
        "key": PUBLIC_KEY, "role": ROLE, "suspended": Flag(), "registered_at": U64, "last_activity": U64,
        "nonces": List(U64, most=16, least=16), "sponsorships": U32, "window_start": U64, "window_events": U32,
    }
)
VALIDATORS = Structure(
    {
        "members": List(Structure({"account": ID, "weight": U64}), ascending=lambda member: member["account"]),
        "since": U64,
    }
)
CHAIN_STATE = Structure({"epoch": U64, "rules": U16, "producers": U32, "weight_suspended": U64})
SCHEDULED = Structure({"at": U64, "event": ADDRESS, "kind": U16, "payload": Bytes()})
SCHEDULE = Structure({"changes": List(SCHEDULED, most=16)})

# Attestations and proof files

ATTESTATION = Structure({"version": VERSION_1, "chain": ID, "validator": ID, "height": U64, "header_hash": HASH})
SIGNED_ATTESTATION = Structure(
    {"attestation": Bytes(), "key": PUBLIC_KEY, "signature": SIGNATURE}, bytes_max=512
)
SIGNED_HEADER = Structure({"header": Bytes(), "key": PUBLIC_KEY, "signature": SIGNATURE})
PROVED_RECORD = Structure({"key": Bytes(most=96), "value": Bytes(most=64 * KIB)})
PART = Structure(
    {"sub_tree": U8, "tree": Bytes(), "records": List(PROVED_RECORD, ascending=lambda record: record["key"])}
)
READ_PROOF = Structure(
    {
        "header": SIGNED_HEADER, "read": Text(), "arguments": List(Text()),
        "sub_trees": List(PART, ascending=lambda part: part["sub_tree"]),
    }
)
EVENT_PROOF = Structure({"header": SIGNED_HEADER, "index": U32, "envelope": Bytes(), "tree": Bytes()})
EQUIVOCATION = Structure({"first": SIGNED_ATTESTATION, "second": SIGNED_ATTESTATION})
FORK = Structure({"ours": SIGNED_HEADER, "theirs": SIGNED_HEADER})
ATTESTED_HEADER = Structure(
    {
        "header": Bytes(), "ancestor": Bytes(),
        "attestations": List(SIGNED_ATTESTATION, least=1, ascending=lambda signed: signed["key"]),
    }
)


def _heights_ascend(finality):
    heights = [decode(HEADER, one["header"])["height"] for one in finality["attested"]]
    need(all(a < b for a, b in zip(heights, heights[1:])), "malformed", "attested heights out of order")


FINALITY = Structure({"attested": List(ATTESTED_HEADER, least=1)}, rule=_heights_ascend)


def _exactly_one(proof):
    need(sum(part is not None for part in proof.values()) == 1, "malformed", "not exactly one proof")


_PROOFS_1 = {"read": Optional(READ_PROOF), "event": Optional(EVENT_PROOF)}
_PROOFS_2 = {**_PROOFS_1, "equivocation": Optional(EQUIVOCATION), "fork": Optional(FORK)}
PROOF_FILE_1 = Structure(
    {"version": VERSION_1, "proof": Structure(_PROOFS_1, rule=_exactly_one)}, bytes_max=4 * KIB * KIB
)
PROOF_FILE = Structure(
    {"version": Int(2, 2), "proof": Structure(_PROOFS_2, rule=_exactly_one), "finality": Optional(FINALITY)},
    bytes_max=4 * KIB * KIB,
)

WITNESS_FILE = Structure(
    {
        "version": VERSION_1, "parent": SIGNED_HEADER, "block": Bytes(), "blocks": Bytes(),
        "sub_trees": List(PART, ascending=lambda part: part["sub_tree"]), "finality": Optional(FINALITY),
    },
    bytes_max=64 * KIB * KIB,
)

# Kinds of the kernel


def _changes_something(change):
    changed = (change["kernel"], change["domain"], change["rules"])
    need(any(part is not None for part in changed), "malformed", "a change of nothing")


KINDS = {
    "AccountRegistration": (1, Structure({})),
    "KeyRotation": (2, Structure({"new_key": PUBLIC_KEY})),
    "RoleGrant": (3, Structure({"account": ID, "role": ROLE, "weight": U64, "sponsorships": U32, "at": U64})),
    "Suspension": (4, Structure({"account": ID, "suspended": Flag(), "reason": Text(256, least=1)})),
    "ParameterChange": (
        5,
        Structure(
            {
                "at": U64, "kernel": Optional(PARAMETERS), "domain": Optional(Bytes(most=3 * KIB)),
                "rules": Optional(U16), "reason": Text(256, least=1),
            },
            rule=_changes_something,
        ),
    ),
}
