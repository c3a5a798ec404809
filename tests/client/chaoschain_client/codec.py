"""Canonical MessagePack, and the types that the structures of docs/format.md are made of.

A type turns bytes into plain Python values and back: structures are dicts, enumerations their names, scores and
times integers, ids and hashes bytes. `decode` refuses what the document says a reader must refuse, with its code.
"""

import base64
from decimal import Decimal

import msgpack

NESTING_MAX = 16
_EXTRA_BYTES = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNT_BYTES = {0xDC: 2, 0xDD: 4}


class Refused(Exception):
    """Something was not taken: a stable code for programs, a sentence for people."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def need(fact, code, message):
    """Refuses unless a fact holds."""
    if not fact:
        raise Refused(code, message)


def walk(data):
    """One walk over the bytes of a document, before anything is built from them."""
    at = 0

    def take(count):
        nonlocal at
        need(count <= len(data) - at, "truncated", f"{count} bytes wanted at {at}")
        at += count
        return data[at - count : at]

    missing = [1]  # values still to come: of the document, and of each array that is open
    while missing:
        if missing[-1] == 0:
            missing.pop()
            continue
        missing[-1] -= 1
        head = take(1)[0]
        count = 0
        if head in _LENGTH_BYTES:
            take(int.from_bytes(take(_LENGTH_BYTES[head]), "big"))
        elif head in _COUNT_BYTES:
            count = int.from_bytes(take(_COUNT_BYTES[head]), "big")
        elif 0x90 <= head <= 0x9F:
            count = head & 0x0F
        elif 0xA0 <= head <= 0xBF:
            take(head & 0x1F)
        elif head in _EXTRA_BYTES:
            take(_EXTRA_BYTES[head])
        else:
            need(head <= 0x7F or head >= 0xE0, "malformed", f"{head:02x} is used nowhere")
        if count:
            need(count <= len(data) - at, "truncated", f"{count} items claimed at {at}")
            need(len(missing) <= NESTING_MAX, "too_deep", f"more than {NESTING_MAX} arrays within one another")
            missing.append(count)
    need(at == len(data), "trailing_bytes", f"{len(data) - at} bytes after the end")


def decode(kind, data):
    """The value of type `kind` that these bytes are, in canonical form."""
    need(kind.bytes_max is None or len(data) <= kind.bytes_max, "too_large", f"{len(data)} bytes")
    walk(data)
    try:
        raw = msgpack.unpackb(data, raw=False)
    except UnicodeDecodeError:
        raise Refused("malformed", "text that is not UTF-8") from None
    need(msgpack.packb(raw) == data, "not_canonical", "written longer than needed")
    return kind.unpack(raw)


def encode(kind, value):
    """The bytes of a value; refuses what a reader would refuse."""
    data = msgpack.packb(kind.pack(value))
    decode(kind, data)
    return data


class Type:
    """`unpack` and `pack` go from and to what msgpack makes of the bytes, the others from and to JSON."""

    bytes_max = None

    def unpack(self, raw):
        raise NotImplementedError

    def pack(self, value):
        return value

    def from_json(self, json):
        return json

    def to_json(self, value):
        return value


class Int(Type):
    def __init__(self, least=0, most=2**64 - 1):
        self.least, self.most = least, most

    def unpack(self, raw):
        number = isinstance(raw, int) and not isinstance(raw, bool)
        need(number and self.least <= raw <= self.most, "malformed", f"not {self.least} to {self.most}")
        return raw


class Score(Int):
    """Millionths in the bytes, a decimal in quotes in JSON."""

    def __init__(self):
        super().__init__(-(2**63), 2**63 - 1)

    def from_json(self, json):
        return int(Decimal(json) * 1_000_000)

    def to_json(self, value):
        text = f"{Decimal(value) / 1_000_000:.6f}"
        return text.rstrip("0").rstrip(".")


class Flag(Type):
    def unpack(self, raw):
        need(isinstance(raw, bool), "malformed", "not a flag")
        return raw


class Text(Type):
    def __init__(self, most=None, least=0):
        self.least, self.most = least, most

    def unpack(self, raw):
        need(not isinstance(raw, bytes), "not_canonical", "bytes where text belongs")
        need(isinstance(raw, str), "malformed", "not text")
        length = len(raw.encode())
        need(length >= self.least, "malformed", "text that is too short")
        need(self.most is None or length <= self.most, "malformed", "text that is too long")
        return raw


class Bytes(Type):
    """Of a fixed length (hex in JSON), or of at most some length (base64 in JSON)."""

    def __init__(self, length=None, most=None, too_long="malformed"):
        self.length, self.most, self.too_long = length, most, too_long

    def unpack(self, raw):
        need(not isinstance(raw, str), "not_canonical", "text where bytes belong")
        need(isinstance(raw, bytes), "malformed", "not bytes")
        need(self.length is None or len(raw) == self.length, "malformed", f"not {self.length} bytes")
        need(self.most is None or len(raw) <= self.most, self.too_long, f"more than {self.most} bytes")
        return raw

    def from_json(self, json):
        return base64.b64decode(json, validate=True) if self.length is None else bytes.fromhex(json)

    def to_json(self, value):
        return base64.b64encode(value).decode() if self.length is None else value.hex()


class Optional(Type):
    def __init__(self, item):
        self.item = item

    def unpack(self, raw):
        return None if raw is None else self.item.unpack(raw)

    def pack(self, value):
        return None if value is None else self.item.pack(value)

    def from_json(self, json):
        return None if json is None else self.item.from_json(json)

    def to_json(self, value):
        return None if value is None else self.item.to_json(value)


class List(Type):
    """`ascending` tells by what the items ascend strictly, where they must."""

    def __init__(self, item, most=None, least=0, ascending=None):
        self.item, self.most, self.least, self.ascending = item, most, least, ascending

    def unpack(self, raw):
        need(isinstance(raw, list), "malformed", "not a list")
        need(self.most is None or len(raw) <= self.most, "malformed", f"more than {self.most} items")
        need(len(raw) >= self.least, "malformed", f"fewer than {self.least} items")
        items = [self.item.unpack(item) for item in raw]
        if self.ascending:
            keys = [self.ascending(item) for item in items]
            need(all(a < b for a, b in zip(keys, keys[1:])), "malformed", "items out of order")
        return items

    def pack(self, value):
        return [self.item.pack(item) for item in value]

    def from_json(self, json):
        return [self.item.from_json(item) for item in json]

    def to_json(self, value):
        return [self.item.to_json(item) for item in value]


class Enumeration(Type):
    """Named in Python and JSON, numbered from 0 in the bytes."""

    def __init__(self, *names):
        self.names = names

    def unpack(self, raw):
        return self.names[Int(0, len(self.names) - 1).unpack(raw)]

    def pack(self, value):
        return self.names.index(value)


class Structure(Type):
    """Named fields in this order; `rule` is what must hold of them together. `last` is one more that there may be."""

    def __init__(self, fields, bytes_max=None, rule=None, last=None):
        self.fields, self.bytes_max, self.rule, self.last = fields, bytes_max, rule, last or {}

    def _fields(self, has_last):
        return {**self.fields, **self.last} if has_last else self.fields

    def unpack(self, raw):
        need(isinstance(raw, list), "malformed", "not a structure")
        fields = self._fields(len(raw) > len(self.fields))
        need(len(raw) == len(fields), "malformed", f"{len(raw)} fields, not {len(fields)}")
        value = {name: kind.unpack(item) for (name, kind), item in zip(fields.items(), raw)}
        if self.rule:
            self.rule(value)
        return value

    def pack(self, value):
        fields = self._fields(self.last.keys() & value.keys())
        need(value.keys() == fields.keys(), "malformed", f"fields {sorted(value.keys() ^ fields.keys())}")
        return [kind.pack(value[name]) for name, kind in fields.items()]

    def from_json(self, json):
        fields = self._fields(self.last.keys() & json.keys())
        wanted = {name for name, kind in fields.items() if not isinstance(kind, Optional)}
        need(wanted <= json.keys() <= fields.keys(), "malformed", f"fields {sorted(json)}")
        return {name: kind.from_json(json.get(name)) for name, kind in fields.items()}

    def to_json(self, value):
        return {name: kind.to_json(value[name]) for name, kind in self._fields(self.last.keys() & value.keys()).items()}
