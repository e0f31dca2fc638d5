"""Makes messages that nobody would send: extreme values by descriptor, and bytes that are hardly a message."""

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from tests.messages import is_map, new

MAX_DEPTH = 4
MANY = 600
DEEP = 30  # protobuf reads 100 messages in each other, and a level is three

TEXTS = st.one_of(
    st.sampled_from(
        (
            "",
            "\0",
            "a\0b",
            " ",
            "\u202eevil\u202c",
            "\ud7ff\ue000\uffff\ufeff",
            "\U0010ffff" * 70,
            "%s%n{0}${x}",
            "'; DROP TABLE x; --",
            '"\\',
            "../../etc/passwd",
            "user:",
            "group:\0",
            "everyone",
            "x" * 10_001,
            "é" * 64,
            "=" * 8,
            "AAAA",
            "file:///nothing",
            "memory://nothing",
            "a\nb\r\tc\x1b[31m",
        )
    ),
    st.text(st.characters(codec="utf-8"), max_size=80),
)
_TIMES = st.sampled_from(("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-22T10:00:00", "2026-W47"))
# What is in the tokens of pages: a name, a time with an id, or an id with a name.
TOKENS = st.one_of(
    TEXTS,
    st.tuples(_TIMES, st.one_of(TEXTS, st.just("5f0c"))).map(" ".join),
    st.tuples(st.just("0" * 32), TEXTS).map("".join),
).map(lambda text: base64.urlsafe_b64encode(text.encode()).decode())
BYTES = st.one_of(
    st.sampled_from((b"", b"\0", b"%PDF-1.7", b"PK\x03\x04" + b"\0" * 40, b"\xff\xfe\xfd", b"x" * 70_000)),
    st.binary(max_size=200),
)
DOUBLES = st.one_of(
    st.sampled_from((0.0, -0.0, 1.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))), st.floats()
)
FLOATS = st.one_of(st.sampled_from((0.0, float("inf"), float("-inf"), float("nan"))), st.floats(width=32))
_SECONDS = st.sampled_from((0, 1, -1, -62135596801, 253402300800, 2**63 - 1, -(2**63)))
_NANOS = st.sampled_from((0, 1, -1, 999_999_999, 1_000_000_000, 2**31 - 1, -(2**31)))


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.sampled_from((0, 1, low, high, high - 1, 500, 501)), st.integers(low, high))


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: integers(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: integers(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: integers(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: integers(64, signed=False),
    FieldDescriptor.CPPTYPE_DOUBLE: DOUBLES,
    FieldDescriptor.CPPTYPE_FLOAT: FLOATS,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    # Numbers that name nothing come from a client that is newer than we are.
    FieldDescriptor.CPPTYPE_ENUM: st.sampled_from((0, 1, 2, 3, 99, -1, 2**31 - 1)),
}


def messages(descriptor: Descriptor, known: tuple[str, ...] = (), depth: int = 0) -> st.SearchStrategy[Message]:
    """Return a strategy of messages with extreme values; `known` are texts that name something."""
    if special := _WELL_KNOWN.get(descriptor.full_name):
        return special()
    chances = []
    for each in descriptor.fields:
        if is_map(each) or (each.message_type is not None and depth >= MAX_DEPTH):
            continue
        one = _values(each, known, depth)
        values = _repeated(one) if each.is_repeated else one
        chances.append((each, st.one_of(st.just(None), values, values)))
    return st.tuples(*(values for _, values in chances)).map(
        lambda found: _made(descriptor, [each for each, _ in chances], found)
    )


def _values(each: FieldDescriptor, known: tuple[str, ...], depth: int) -> st.SearchStrategy[Any]:
    if each.message_type is not None:
        return messages(each.message_type, known, depth + 1)
    if each.type == FieldDescriptor.TYPE_BYTES:
        return BYTES
    if each.name == "page_token":
        return st.one_of(TEXTS, TOKENS)
    if each.type == FieldDescriptor.TYPE_STRING:
        # What is on this host is not for a test to read.
        texts = TEXTS.map(lambda text: "/nowhere" + text if text.startswith(("/", "~")) else text)
        return st.one_of(texts, st.sampled_from(known)) if known else texts
    return _SCALARS[each.cpp_type]


def _repeated(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.one_of(st.lists(one, max_size=3), one.map(lambda value: [value] * MANY))


def _made(descriptor: Descriptor, fields: list[FieldDescriptor], values: tuple[Any, ...]) -> Message:
    message = new(descriptor)
    for each, value in zip(fields, values, strict=True):
        if value is None:
            continue
        if each.is_repeated and each.message_type is not None:
            for one in value:
                getattr(message, each.name).add().CopyFrom(one)
        elif each.is_repeated:
            getattr(message, each.name).extend(value)
        elif each.message_type is not None:
            getattr(message, each.name).CopyFrom(value)
        else:
            setattr(message, each.name, value)
    return message


def _structs() -> st.SearchStrategy[Message]:
    return st.one_of(
        st.builds(_struct, st.dictionaries(TEXTS, st.one_of(DOUBLES, TEXTS, st.booleans(), st.none()), max_size=3)),
        st.builds(_deep, st.integers(1, DEEP)),
        st.just(_struct({f"key {number}": number for number in range(MANY)})),
        # A value without a kind is on the wire what no client's library makes.
        st.just(Struct(fields={"none": Value()})),
    )


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def _deep(levels: int) -> Struct:
    inner = Struct()
    for _ in range(levels):
        outer = Struct()
        outer.fields["deeper"].struct_value.CopyFrom(inner)
        inner = outer
    return inner


_WELL_KNOWN: dict[str, Callable[[], st.SearchStrategy[Message]]] = {
    "google.protobuf.Struct": _structs,
    "google.protobuf.Timestamp": lambda: st.builds(Timestamp, seconds=_SECONDS, nanos=_NANOS),
    "google.protobuf.Duration": lambda: st.builds(Duration, seconds=_SECONDS, nanos=_NANOS),
}


@st.composite
def mutated(draw: st.DrawFn, sound: st.SearchStrategy[Message]) -> bytes:
    """Return bytes of a message, flipped, cut, doubled or extended; or bytes that never were one."""
    body = bytearray(draw(sound).SerializeToString())
    how = draw(st.sampled_from(("flip", "cut", "extend", "double", "random")))
    if how == "flip" and body:
        for place in draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=8)):
            body[place] ^= draw(st.integers(1, 255))
    if how == "cut":
        del body[draw(st.integers(0, len(body))) :]
    if how == "extend":
        body += draw(st.binary(max_size=64))
    if how == "double":
        body += bytes(body)
    return bytes(body) if how != "random" else draw(st.binary(max_size=300))
