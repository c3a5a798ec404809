"""Reads answered again from proved records alone, in the JSON in which a node answers them."""

from .codec import Refused, decode
from .formats import (
    ACCOUNT, CHAIN_STATE, KINDS, PARAMETERS, RECORDS, SCHEDULE, SCORE, SOCIETY_PARAMETERS, VALIDATORS, name_hash,
)

CONTROL, AGENTS, SOCIAL, MEMES = 0, 2, 3, 4
ONE = 1_000_000
SCORE_AT_START = ONE // 2


def answer(proved):
    """The answer to the read of a proof; `None` where there is nothing."""
    if proved.read not in _READS:
        raise Refused("read_unknown", f"this client does not know how to answer {proved.read}")
    return _READS[proved.read](proved, *proved.arguments)


def _value(proved, sub_tree, key, kind):
    value = proved.record(sub_tree, key)
    return None if value is None else decode(kind, value)


def _record(proved, sub_tree, key, kind):
    value = _value(proved, sub_tree, key, kind)
    return None if value is None else kind.to_json(value)


def _account(proved, account):
    return _record(proved, CONTROL, b"\x01" + bytes.fromhex(account), ACCOUNT)


def _scheduled(proved):
    schedule = _value(proved, CONTROL, b"\x06", SCHEDULE)
    shown = []
    for change in schedule["changes"] if schedule else ():
        name, kind = next((name, kind) for name, (number, kind) in KINDS.items() if number == change["kind"])
        payload = decode(kind, change["payload"])
        told = kind.to_json(payload)
        if payload.get("domain") is not None:
            told["domain"] = SOCIETY_PARAMETERS.to_json(decode(SOCIETY_PARAMETERS, payload["domain"]))
        shown.append({"at": change["at"], "event": change["event"], "kind": name, "change": told})
    return shown


def _parameters(proved):
    return {
        "kernel": _record(proved, CONTROL, b"\x02", PARAMETERS),
        "domain": _record(proved, CONTROL, b"\x03", SOCIETY_PARAMETERS),
        "chain": _record(proved, CONTROL, b"\x05", CHAIN_STATE),
        "scheduled": _scheduled(proved),
    }


def _validators(proved):
    shown = _record(proved, CONTROL, b"\x04", VALIDATORS)
    suspended = []
    for member in shown["members"]:
        account = _account(proved, member["account"])
        if account and account["suspended"]:
            suspended.append(member["account"])
        member["key"] = account and account["key"]
    return {**shown, "suspended": suspended}


def _profile(proved, agent):
    return _value(proved, AGENTS, b"\x01" + agent, RECORDS["Agent"])


def _agent(proved, agent):
    profile = _profile(proved, bytes.fromhex(agent))
    if profile is None:
        return None
    account, now = _account(proved, agent), proved.header["timestamp"]
    live = [one["id"].hex() for one in profile["alliances"] if now < one["expires_at"]]
    told = {"id": agent, "public_key": account["key"], "role": account["role"]}
    told["last_activity"] = account["last_activity"]
    told["status"] = "Suspended" if account["suspended"] else profile["status"]
    return {**RECORDS["Agent"].to_json(profile), **told, "alliances": live}


def _view(proved, one, other):
    return _value(proved, SOCIAL, b"\x02" + one + other, RECORDS["Relationship"])


def _relationship(proved, one, other):
    view = _view(proved, bytes.fromhex(one), bytes.fromhex(other))
    return view and {"from": one, "to": other, **RECORDS["Relationship"].to_json(view)}


def _alliance(proved, alliance):
    record = _value(proved, SOCIAL, b"\x01" + bytes.fromhex(alliance), RECORDS["Alliance"])
    if record is None:
        return None
    members, now = record["members"], proved.header["timestamp"]
    profiles = [_profile(proved, member) for member in members]
    views = [_view(proved, *pair) for pair in zip(members, members[1:] + members[:1])]
    left = max(record["expires_at"] - now, 0)
    factors = (
        sum(one["reputation"] for one in profiles) // len(members),
        sum(view["trust"] if view else SCORE_AT_START for view in views) // len(members),
        sum(one["influence"] for one in profiles) // len(members),
        ONE * left // record["terms"]["duration"],
    )
    strength = ONE
    for factor in factors:
        strength = strength * factor // ONE
    told = {"id": alliance, "strength": SCORE.to_json(strength)}
    state = record["state"] if left else "Expired"
    return {**RECORDS["Alliance"].to_json(record), **told, "state": state}


def _meme(proved, meme):
    record = _record(proved, MEMES, b"\x01" + bytes.fromhex(meme), RECORDS["Meme"])
    if record is None:
        return None
    influence = _value(proved, SOCIAL, b"\x03" + bytes.fromhex(meme), RECORDS["InfluenceScore"])
    half_life = _value(proved, CONTROL, b"\x03", SOCIETY_PARAMETERS)["meme_half_life"]
    now = decayed(influence["value"], proved.header["timestamp"] - influence["updated_at"], half_life)
    told = {"id": meme, "influence": SCORE.to_json(now)}
    return {**record, **told, "influenced_at": influence["updated_at"], "influence_count": influence["count"]}


def decayed(value, elapsed, half_life):
    """A meme's influence after `elapsed`, as domain.md says."""
    if half_life == 0:
        return value
    halves, rest = divmod(elapsed, half_life)
    return (value >> min(halves, 63)) * (2 * half_life - rest) // (2 * half_life)


def _entry(proved, owner, namespace, key):
    at = b"\x02" + bytes.fromhex(owner) + name_hash(namespace) + name_hash(key)
    entry = _record(proved, AGENTS, at, RECORDS["Entry"])
    return entry and {"owner": owner, **entry}


_READS = {
    "account": _account, "parameters": _parameters, "validators": _validators, "agent": _agent,
    "relationship": _relationship, "alliance": _alliance, "meme": _meme, "entry": _entry,
}
