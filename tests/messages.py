"""Every RPC of the protos, and requests for it filled with values that fit: a new RPC is covered without a line."""

import functools
import importlib
import itertools
import random
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tandem
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

MAX_DEPTH = 5
CANDIDATES = 8
# Of one name, the first and the last that were seen: what came first may be used up already.
OF_ONE_NAME = 3
# Where in a message a value is: the fields on the way to it.
Place = tuple[FieldDescriptor, ...]

_WELL_KNOWN = "google.protobuf."


def every_file() -> list[FileDescriptor]:
    """Return every file of the protos."""
    found = []
    for folder in map(Path, tandem.__path__):
        for path in sorted(folder.rglob("*_pb2.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found.append(importlib.import_module(".".join((tandem.__name__, *parts))).DESCRIPTOR)
    return found


def every_rpc() -> list[MethodDescriptor]:
    """Return every RPC of every service of the protos, by path."""
    services = (service for file in every_file() for service in file.services_by_name.values())
    return sorted({method for service in services for method in service.methods}, key=path_of)


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def new(descriptor: Descriptor) -> Message:
    # Looked up anew: a descriptor that came through a method may be another object of the same message.
    found = descriptor_pool.Default().FindMessageTypeByName(descriptor.full_name)
    return message_factory.GetMessageClass(found)()


def values_in(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    """Yield every scalar of a message, however deep, with its field."""
    for each, value in message.ListFields():
        if is_map(each):
            continue
        for one in value if each.is_repeated else (value,):
            if each.message_type is None:
                yield each, one
            else:
                yield from values_in(one)


def is_map(each: FieldDescriptor) -> bool:
    return each.message_type is not None and each.message_type.GetOptions().map_entry


def replaced(message: Message, values: Mapping[Any, Any]) -> Message:
    """Return a message in which each string that is a key of `values` is its value."""
    copy = type(message)()
    copy.CopyFrom(message)
    _replace(copy, values)
    return copy


def _replace(message: Message, values: Mapping[Any, Any]) -> None:
    for each, value in message.ListFields():
        if is_map(each):
            continue
        if each.message_type is not None:
            for one in value if each.is_repeated else (value,):
                _replace(one, values)
        elif each.is_repeated:
            value[:] = [values.get(one, one) for one in value]
        else:
            setattr(message, each.name, values.get(value, value))


@functools.cache
def made_up(value: str, seed: int = 0) -> str:
    """Return what looks like `value` and is not it: a letter for each letter, a digit for each digit."""
    chance = random.Random(f"{seed} {value}")
    kind, colon, rest = value.rpartition(":")
    digits = all(each in string.hexdigits for each in rest if each.isalnum())
    letters = "abcdef" if digits else string.ascii_lowercase
    changed = (
        chance.choice(string.digits) if each.isdigit() else chance.choice(letters) if each.isalpha() else each
        for each in rest
    )
    return kind + colon + "".join(changed)


@dataclass
class Pool:
    """Values that were seen, by the stem of the field that held them."""

    values: dict[str, dict[Any, None]] = field(default_factory=dict)

    def learn(self, message: Message) -> None:
        for each, value in values_in(message):
            if isinstance(value, str | bytes) and value:
                self.values.setdefault(stem_of(each), {})[value] = None

    def texts(self) -> set[str]:
        return {value for values in self.values.values() for value in values if isinstance(value, str)}

    def fitting(self, each: FieldDescriptor) -> list[Any]:
        """Return values of the field's own kind, those of the same name first."""
        kind = bytes if each.type == FieldDescriptor.TYPE_BYTES else str
        stems = sorted(self.values, key=lambda stem: _distance(each, stem))
        # One of each name, then a second of each: the bound must not be spent on one name.
        rows = itertools.zip_longest(*(self.values[stem] for stem in stems))
        return [value for row in rows for value in row if isinstance(value, kind)]

    def candidates(self, each: FieldDescriptor) -> list[Any]:
        """Return values to try in a field: some that were seen under its name, and one of each other name."""
        found = self.fitting(each)
        own = [self.values[stem] for stem in self._named(each)]
        named = [value for value in found if any(value in values for values in own)]
        return list(dict.fromkeys((*named[:OF_ONE_NAME], *named[-OF_ONE_NAME:], *found[:CANDIDATES])))

    def best(self, each: FieldDescriptor) -> Any:
        """Return a value that was seen under the same name, or None."""
        found = self.fitting(each)
        return found[0] if found and self._named(each) else None

    def _named(self, each: FieldDescriptor) -> list[str]:
        return [stem for stem in self.values if _distance(each, stem) < len(_DISTANCES)]


def stem_of(each: FieldDescriptor) -> str:
    """Return what a field is about: `source` for `source`, `source_id` and a Source's `name`."""
    if each.GetOptions().debug_redact:
        # A text or a credential names nothing, whatever its field is called.
        return f"{each.name} text"
    if each.name in {"name", "names"}:
        return each.containing_type.name.lower()
    return each.name.removesuffix("s").removesuffix("_id")


_DISTANCES = (
    lambda each, stem: stem == stem_of(each),
    lambda each, stem: stem_of(each).endswith(stem),
    lambda each, stem: each.name == "name" and stem in each.containing_type.name.lower(),
)


@functools.cache
def _distance(each: FieldDescriptor, stem: str) -> int:
    return next((number for number, fits in enumerate(_DISTANCES) if fits(each, stem)), len(_DISTANCES))


def filled(descriptor: Descriptor, pool: Pool, limit: int) -> list[Message]:
    """Return different messages: an empty one, with one field, with every field, with each value that could fit."""
    found: dict[bytes, Message] = {}
    for values in _fillings(descriptor, pool):
        message = new(descriptor)
        for place, value in values.items():
            _put(message, place, value)
        found.setdefault(message.SerializeToString(deterministic=True), message)
        if len(found) == limit:
            break
    return list(found.values())


def _fillings(descriptor: Descriptor, pool: Pool) -> Iterator[dict[Place, Any]]:
    places = list(places_of(descriptor))
    yield {}
    choices = list(_choices(places))
    wholes = [{place: _best(place, pool) for place in choice if _best(place, pool) is not None} for choice in choices]
    yield from wholes
    variants = []
    for whole in wholes:
        within = [place for place in places if _agree(place, whole)]
        for place in within:
            variants.append([{place: value} for value in _candidates(place, pool)])
            variants.append([whole | {place: value} for value in _candidates(place, pool)])
    for row in itertools.zip_longest(*variants):
        yield from (values for values in row if values is not None)


def places_of(descriptor: Descriptor, before: Place = ()) -> Iterator[Place]:
    """Yield the places of a message where a value can be; a message without fields is one."""
    if len(before) > MAX_DEPTH:
        return
    for each in descriptor.fields:
        place = (*before, each)
        if is_map(each):
            continue
        if each.message_type is None or not each.message_type.fields or _is_well_known(each):
            yield place
        else:
            yield from places_of(each.message_type, place)


def _is_well_known(each: FieldDescriptor) -> bool:
    return each.message_type is not None and each.message_type.full_name.startswith(_WELL_KNOWN)


def _choices(places: list[Place]) -> Iterator[list[Place]]:
    """Yield the places that can be filled together, once for each alternative of each oneof."""
    alternatives: dict[str, list[FieldDescriptor]] = {}
    for each in dict.fromkeys(each for place in places for each in place if each.containing_oneof):
        alternatives.setdefault(each.containing_oneof.full_name, []).append(each)
    for chosen in itertools.product(*alternatives.values()):
        yield [place for place in places if all(each in chosen for each in place if each.containing_oneof)]


def _agree(place: Place, whole: Iterable[Place]) -> bool:
    """Return whether a place is in no other alternative than those of a message that is filled."""
    taken = {each.containing_oneof.full_name: each for other in whole for each in other if each.containing_oneof}
    return all(taken.get(each.containing_oneof.full_name, each) == each for each in place if each.containing_oneof)


def _best(place: Place, pool: Pool) -> Any:
    """Return what a request that means something has at a place, or None where it is better left out."""
    each = place[-1]
    if each.name == "page_token" or _is_well_known(each):
        return None
    if each.type == FieldDescriptor.TYPE_STRING:
        return pool.best(each)
    return next(iter(_candidates(place, pool)), None)


def _candidates(place: Place, pool: Pool) -> list[Any]:
    each = place[-1]
    if each.message_type is not None:
        return [new(each.message_type)]
    if each.enum_type is not None:
        return [value.number for value in each.enum_type.values if value.number]
    if each.type == FieldDescriptor.TYPE_BYTES:
        return pool.candidates(each) or [b"content"]
    if each.type == FieldDescriptor.TYPE_STRING:
        return pool.candidates(each)
    if each.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return [True]
    return [1]


def _put(message: Message, place: Place, value: Any) -> None:
    *way, last = place
    for each in way:
        inner = getattr(message, each.name)
        message = (inner[0] if len(inner) else inner.add()) if each.is_repeated else inner
    if last.message_type is not None:
        inner = getattr(message, last.name)
        inner.add() if last.is_repeated else inner.SetInParent()
    elif last.is_repeated:
        getattr(message, last.name).append(value)
    else:
        setattr(message, last.name, value)
