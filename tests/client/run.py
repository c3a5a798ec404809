"""Works a running node as a stranger would, and checks everything it answers; prints one JSON line of counts.

    python run.py --node http://127.0.0.1:4280 --trust trust.json [--nats nats://127.0.0.1:4222] [--final] [--seed 7]

The trust file is the JSON one of docs/format.md. On the chain anyone may register, and vote at once: its
`elector_age_min` is 0. Ends with 1 at the first thing that is not as documented.
"""

import argparse
import json
import time
from pathlib import Path

from chaoschain_client import formats
from chaoschain_client.blocks import open_block
from chaoschain_client.codec import Refused, decode, encode
from chaoschain_client.node import NatsNode, Node
from chaoschain_client.proofs import Trust, verify, verify_witness
from chaoschain_client.reads import answer
from chaoschain_client.tree import root_of, state_root
from quarrel import quarrel
from story import PERSONALITIES, read_everything, submit_everything
from visit import Agent, Visit

MUTATIONS = 400


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
        raw = node.raw_block(height)
        block, header, header_hash = open_block(raw)
        visit.check(block["key"] in trust.producers, "a block of no trusted producer")
        visit.same((header["height"], header["chain"]), (height, trust.chain), "a block's place")
        visit.same(header["parent"], hashes[-1] if hashes else bytes(32), "a parent")
        visit.same(header["state_root"], state_root(header["sub_roots"]), "a state root")
        before = {at.to_bytes(8, "big"): one for at, one in enumerate(hashes)}
        visit.same(header["sub_roots"][1], root_of(before), "the root of the blocks")
        if height == 0:
            visit.same(header["sub_roots"][0], genesis_root(block["events"][0]), "the root of genesis")
        else:
            witness = visit.other.witness(height)
            visit.same(verify_witness(witness, trust).header_hash, hashes[-1], "the parent in a witness")
            visit.same(decode(formats.WITNESS_FILE, witness)["block"], raw, "the block in a witness")
            visit.counts["witnesses"] += 1
        hashes.append(header_hash)
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
    agents = [Agent(trust.chain, visit.rng) for _ in PERSONALITIES]
    try:
        pact, meme = submit_everything(visit, agents)
        read_everything(visit, agents, pact, meme)
        quarrel(visit, agents, pact, meme)
        read_history(visit)
        if options.final:
            read_final(visit, agents)
        mutate_proofs(visit)
    except Exception as error:
        raise SystemExit(f"seed {options.seed}: {type(error).__name__}: {error}") from error
    print(json.dumps({"seed": options.seed, **visit.counts}, sort_keys=True))


if __name__ == "__main__":
    main()
