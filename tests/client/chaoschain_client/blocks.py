"""Blocks by themselves, and how one follows another; the rules of events are not run here."""

from .codec import Refused, decode, need
from .formats import ACCOUNT, BLOCK, CHAIN_STATE, HEADER, PARAMETERS, keyed, open_envelope, signature_holds
from .tree import root_of

CONTROL = 0


def open_block(data):
    """A block that holds by itself, with its header and that one's hash."""
    block = decode(BLOCK, data)
    header = decode(HEADER, block["header"])
    holds = signature_holds("header", block["key"], block["header"], block["signature"])
    need(holds, "producer_signature_invalid", f"the signature of block {header['height']}")
    need(header["event_count"] == len(block["events"]), "event_count_wrong", f"{len(block['events'])} events")
    events = {index.to_bytes(4, "big"): event for index, event in enumerate(block["events"])}
    need(header["events_root"] == root_of(events), "events_root_wrong", "the root of the events")
    if header["height"] == 0:
        need(keyed("genesis", block["events"][0]) == header["chain"], "genesis_refused", "not the chain's genesis")
    else:
        try:
            for event in block["events"]:
                open_envelope(event)
        except Refused as refusal:
            raise Refused("events_refused", str(refusal)) from refusal
    return block, header, keyed("header", block["header"])


def follows(block, header, parent, parent_hash, record):
    """Refuses a block whose header does not follow; `record` gives a record of the control sub-tree before it."""
    need(header["chain"] == parent["chain"], "chain_wrong", "a block of another chain")
    account = record(b"\x01" + header["producer"])
    account = account and decode(ACCOUNT, account)
    may = account and account["role"] == "Producer" and not account["suspended"] and account["key"] == block["key"]
    need(may, "producer_unauthorised", f"{header['producer'].hex()} may not seal")
    apart = header["height"] - parent["height"]
    need(apart == 1, "height_taken" if apart < 1 else "height_skipped", f"height {header['height']}")
    need(header["parent"] == parent_hash, "parent_wrong", "another parent")
    passed = header["timestamp"] - parent["timestamp"]
    most = decode(PARAMETERS, record(b"\x02"))["time_step_max"]
    need(0 <= passed <= most, "timestamp_wrong", f"{passed} after the parent")
    if record(b"\x06") is None:  # else a change may be due
        chain = decode(CHAIN_STATE, record(b"\x05"))
        said = (header["epoch"], header["rules"])
        need(said == (chain["epoch"], chain["rules"]), "rules_wrong", "not the rules in force")
