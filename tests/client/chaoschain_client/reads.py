"""Reads answered again from proved records alone, in the JSON in which a node answers them."""

from .codec import Refused, decode
from .formats import ACCOUNT, CHAIN_STATE, PARAMETERS, SCHEDULE, VALIDATORS, name_hash
from .formulas import HALF, decayed, quality, strength, virality
from .society import FIELD, KINDS, RECORDS, SCORE
from .society import PARAMETERS as SOCIETY_PARAMETERS
from .tally import agrees, tally

CONTROL, AGENTS, SOCIAL, MEMES = 0, 2, 3, 4


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
    told["betrayed_at"] = profile.get("betrayed_at")
    return {**RECORDS["Agent"].to_json(profile), **told, "alliances": live}


def _personality(proved, agent):
    history = _record(proved, AGENTS, b"\x04" + bytes.fromhex(agent), RECORDS["PersonalityHistory"])
    return history and {"id": agent, **history}


def _view(proved, one, other):
    return _value(proved, SOCIAL, b"\x02" + one + other, RECORDS["Relationship"])


def _relationship(proved, one, other):
    view = _view(proved, bytes.fromhex(one), bytes.fromhex(other))
    return view and {"from": one, "to": other, **RECORDS["Relationship"].to_json(view)}


def _alliance(proved, alliance):
    record = _value(proved, SOCIAL, b"\x01" + bytes.fromhex(alliance), RECORDS["Alliance"])
    if record is None:
        return None
    told = {**RECORDS["Alliance"].to_json(record), "id": alliance}
    told["strength_at_formation"] = told["strength"]
    left = max(record["expires_at"] - proved.header["timestamp"], 0)
    if record["state"] in ("Active", "Contested") and not left:
        told["state"] = "Expired"
    if told["state"] not in ("Active", "Contested"):
        return {**told, "strength": "0", "conflict": None}
    members = record["members"]
    profiles = [_profile(proved, member) for member in members]
    views = [_view(proved, *pair) for pair in zip(members, members[1:] + members[:1])]
    now = strength(
        [one["reputation"] for one in profiles], [view["trust"] if view else HALF for view in views],
        [one["influence"] for one in profiles], left, record["terms"]["duration"],
    )
    return {**told, "strength": SCORE.to_json(now)}


NO_INFLUENCE = {
    "value": 0, "updated_at": None, "count": 0, "score_sum": 0,
    "reactions": {"love": 0, "like": 0, "neutral": 0, "dislike": 0},
}


def _meme(proved, meme):
    record = _record(proved, MEMES, b"\x01" + bytes.fromhex(meme), RECORDS["Meme"])
    if record is None:
        return None
    influence = _value(proved, SOCIAL, b"\x03" + bytes.fromhex(meme), RECORDS["InfluenceScore"]) or NO_INFLUENCE
    half_life = _value(proved, CONTROL, b"\x03", SOCIETY_PARAMETERS)["meme_half_life"]
    agents = _value(proved, AGENTS, b"\x00", RECORDS["AgentCount"])["agents"]
    elapsed = proved.header["timestamp"] - (influence["updated_at"] or 0)
    scores = {
        "influence": decayed(influence["value"], elapsed, half_life),
        "quality": quality(influence["score_sum"], influence["reactions"]),
        "virality": virality(influence["reactions"], influence["count"], agents),
    }
    told = {"id": meme, "influenced_at": influence["updated_at"], "influence_count": influence["count"]}
    told["reactions"] = influence["reactions"]
    return {**record, **told, **{name: SCORE.to_json(score) for name, score in scores.items()}}


def _drama_key(height, index):
    return b"\x04" + height.to_bytes(8, "big") + index.to_bytes(4, "big")


def _drama(proved, height, index):
    event = _record(proved, SOCIAL, _drama_key(int(height), int(index)), RECORDS["DramaEvent"])
    return event and {"height": int(height), "index": int(index), **event}


def _dramas(proved, start, limit):
    height, _, index = start.partition("/")
    first = _drama_key(int(height), int(index or 0))
    found = proved.first_keys(SOCIAL, first, _drama_key(2**64 - 1, 2**32 - 1), int(limit))
    places = [(int.from_bytes(key[1:9], "big"), int.from_bytes(key[9:], "big")) for key in found]
    after = None
    if len(found) == int(limit):
        height, index = divmod((places[-1][0] << 32) + places[-1][1] + 1, 2**32)
        after = f"{height}/{index}"
    return {"events": [_drama(proved, *place) for place in places], "next": after}


def _entry(proved, owner, namespace, key):
    at = b"\x02" + bytes.fromhex(owner) + name_hash(namespace) + name_hash(key)
    entry = _record(proved, AGENTS, at, RECORDS["Entry"])
    return entry and {"owner": owner, **entry}


def _conflict(proved, conflict):
    record = _value(proved, SOCIAL, b"\x06" + bytes.fromhex(conflict), RECORDS["Conflict"])
    if record is None:
        return None
    counted = tally(record)
    stage = "Open" if proved.header["timestamp"] < record["deadline"] else "Over"
    if record["outcome"]:
        stage = "Decided"
    if not record["options"]:
        stage = "Evidence"
    told = {
        "weights": counted.weights, "total": counted.total, "participation": SCORE.to_json(counted.participation),
        "all_spoken": counted.all_spoken, "agrees": agrees(record),
    }
    return {"id": conflict, "stage": stage, **RECORDS["Conflict"].to_json(record), "tally": told}


def _open_conflict(proved, agent, field):
    key = b"\x07" + bytes.fromhex(agent) + bytes([FIELD.names.index(field)])
    found = _record(proved, SOCIAL, key, RECORDS["OpenConflict"])
    return found and {"agent": agent, "field": field, **found}


_READS = {
    "account": _account, "parameters": _parameters, "validators": _validators, "agent": _agent,
    "personality": _personality, "relationship": _relationship, "alliance": _alliance, "meme": _meme,
    "drama": _drama, "dramas": _dramas, "entry": _entry, "conflict": _conflict, "open-conflict": _open_conflict,
}
