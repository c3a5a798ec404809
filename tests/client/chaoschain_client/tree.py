"""The tree: roots of whole trees, and pruned trees that prove what is in one, what is not, and whole ranges."""

from dataclasses import dataclass, replace
from typing import Optional

from .codec import need
from .formats import NOTHING, keyed

KEY_BYTES_MAX = 96
PRUNED_BYTES_MAX = 4 * 1024 * 1024
ELEMENTS_MAX = 65_536
HASH, LEAF, NODE = 0, 1, 2


def bit_at(key, bit):
    """A bit of a key, 0 beyond its end."""
    return key[bit // 8] >> (7 - bit % 8) & 1 if bit < 8 * len(key) else 0


def first_bits(key, count):
    """The first bits of a key as a number; the key must have that many."""
    return int.from_bytes(key, "big") >> (8 * len(key) - count)


def leaf_hash(key, value_hash):
    return keyed("leaf", len(key).to_bytes(2, "big") + key + value_hash)


def node_hash(bit, left, right):
    return keyed("node", bit.to_bytes(2, "big") + left[:31] + right[:31])


def root_of(entries):
    """The root over a dict of keys and values."""

    def root(some):
        if len(some) == 1:
            return leaf_hash(some[0][0], keyed("value", some[0][1]))
        first, last = some[0][0], some[-1][0]
        bit = next(bit for bit in range(8 * KEY_BYTES_MAX) if bit_at(first, bit) != bit_at(last, bit))
        left = [entry for entry in some if not bit_at(entry[0], bit)]
        return node_hash(bit, root(left), root(some[len(left) :]))

    return root(sorted(entries.items())) if entries else NOTHING


def state_root(sub_roots):
    return root_of({bytes([number]): root for number, root in enumerate(sub_roots)})


@dataclass
class Element:
    """A part of a pruned tree, and what was found out about it on the way up."""

    tag: int
    hash: bytes
    bit: int = 0
    children: tuple = ()
    key: bytes = b""
    value_hash: bytes = b""
    first: Optional[bytes] = None
    last: Optional[bytes] = None


def _refuse_unless(fact, message):
    need(fact, "proof_malformed", message)


class Pruned:
    """A pruned tree that is well formed. It says nothing until its `root` was compared with one that is trusted."""

    def __init__(self, data):
        self.top = _build(_read(data)) if data else None
        self.root = self.top.hash if self.top else NOTHING

    def find(self, key):
        """The value hash under a key, or `None` where the proof shows that the key is absent."""
        at = self.top
        while at is not None and at.tag == NODE:
            at = at.children[bit_at(key, at.bit)]
        if at is None:
            return None
        need(at.tag == LEAF, "not_shown", f"the proof does not tell about {key.hex()}")
        return at.value_hash if at.key == key else None

    def opened(self):
        """Keys and value hashes of the opened leaves, ascending."""
        return [(part.key, part.value_hash) for part in _parts(self.top) if part.tag == LEAF]

    def range(self, start, end=None, inclusive=False):
        """All entries there are from `start` to `end`, or a refusal if the proof may hide some."""
        need(self.top is None or self.top.tag != HASH, "not_shown", "a lone hash")
        for node in _parts(self.top):
            for side, child in enumerate(node.children):
                if child.tag == HASH:
                    count = node.bit + 1
                    hidden = first_bits(node.children[1 - side].first, count) ^ 1
                    outside = _compare(hidden, count, start) == "below" or (
                        end is not None
                        and _compare(hidden, count, end) in (("above",) if inclusive else ("above", "begins"))
                    )
                    need(outside, "not_shown", f"keys of the range may be hidden at bit {node.bit}")
        return [
            (key, value_hash)
            for key, value_hash in self.opened()
            if key >= start and (end is None or key < end or (inclusive and key == end))
        ]

    def cut(self, height):
        """Of a proof over the chain of headers: the root when it held the heights below `height` alone."""

        def cut(part):
            if part.tag == LEAF:
                return part if int.from_bytes(part.key, "big") < height else None
            sides = list(part.children)
            for side, child in enumerate(part.children):
                if child.tag == HASH:
                    span = 1 << (63 - part.bit)
                    beside = int.from_bytes(part.children[1 - side].first, "big")
                    first = (beside ^ span) // span * span
                    need(first >= height or first + span <= height, "not_shown", f"the tree at height {height}")
                    sides[side] = None if first >= height else child
                else:
                    sides[side] = cut(child)
            if None in sides:
                return sides[0] or sides[1]
            return replace(part, children=tuple(sides), hash=node_hash(part.bit, sides[0].hash, sides[1].hash))

        need(all(len(key) == 8 for key, _ in self.opened()), "not_shown", "a key that is no height")
        left = cut(self.top) if self.top else None
        return left.hash if left else NOTHING


def _parts(top):
    """The elements below and with `top`, in pre-order."""
    todo = [top] if top else []
    while todo:
        part = todo.pop()
        yield part
        todo.extend(reversed(part.children))


def _read(data):
    """The elements in pre-order, as (tag, what follows)."""
    _refuse_unless(len(data) <= PRUNED_BYTES_MAX, "too large")
    at, missing, elements = 0, 1, []

    def take(count):
        nonlocal at
        _refuse_unless(count <= len(data) - at, "it ends too soon")
        at += count
        return data[at - count : at]

    while missing:
        _refuse_unless(len(elements) < ELEMENTS_MAX, "too many elements")
        missing -= 1
        tag = take(1)[0]
        if tag == HASH:
            elements.append((tag, take(31)))
        elif tag == LEAF:
            length = int.from_bytes(take(2), "big")
            _refuse_unless(1 <= length <= KEY_BYTES_MAX, "a key's length")
            elements.append((tag, take(length), take(32)))
        else:
            _refuse_unless(tag == NODE, "an unknown tag")
            elements.append((tag, int.from_bytes(take(2), "big")))
            missing += 2
    _refuse_unless(at == len(data), "bytes after its end")
    return elements


def _build(elements):
    """The top of a tree, every rule checked on the way up: read backwards, children come before their parents."""
    built = []
    for tag, *rest in reversed(elements):
        if tag == HASH:
            _refuse_unless(rest[0] != bytes(31), "the hash of nothing")
            built.append(Element(HASH, rest[0]))
        elif tag == LEAF:
            key, value_hash = rest
            built.append(
                Element(LEAF, leaf_hash(key, value_hash), key=key, value_hash=value_hash, first=key, last=key)
            )
        else:
            built.append(_node(rest[0], built.pop(), built.pop()))
    _refuse_unless(built[0].first is not None, "nothing is opened")
    return built[0]


def _node(bit, left, right):
    _refuse_unless(bit < 8 * KEY_BYTES_MAX, "a bit beyond every key")
    for side, child in enumerate((left, right)):
        _refuse_unless(child.tag != NODE or bit < child.bit, "bits that do not ascend")
        if child.first is not None:
            _refuse_unless(bit < 8 * len(child.first), "a key without its node's bit")
            _refuse_unless(bit_at(child.first, bit) == side, "a key on the wrong side")
    opened = [child for child in (left, right) if child.first is not None]
    _refuse_unless(opened, "a node with nothing opened below it")
    first, last = opened[0].first, opened[-1].last
    _refuse_unless(8 * len(last) >= bit, "keys that part above their node")
    _refuse_unless(first_bits(first, bit) == first_bits(last, bit), "keys that part above their node")
    return Element(NODE, node_hash(bit, left.hash, right.hash), bit, (left, right), first=first, last=last)


def _compare(prefix, count, bound):
    """How the keys that begin with `count` bits stand to a bound."""
    bits = 8 * len(bound)
    both = min(count, bits)
    ours, theirs = prefix >> (count - both), first_bits(bound, both)
    if ours != theirs:
        return "below" if ours < theirs else "above"
    if bits == count:
        return "begins"
    return "above" if bits < count else "straddles"
