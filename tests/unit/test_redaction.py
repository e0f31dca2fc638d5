"""Fields of the protos that hold people's texts or secrets say so: what tells of requests leaves them out."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import Default

from tests.messages import every_file

# A part of a name is enough: "failure_message" is a message.
TELLING = {
    *("text", "texts", "title", "headings", "uri", "content", "metadata", "query", "question", "answer", "prompt"),
    *("comment", "correction", "instructions", "message", "error", "display", "secret", "value", "values", "token"),
}
# By the field's name, in every message: why it is none of these.
KEPT = {
    "answer_id": "an id, signed",
    "content_digest": "it says whether two contents are the same, and names a file in the blob store",
    "page_token": "a place in a list, signed or opaque",
    "next_page_token": "the same",
}
WORDS = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
STRUCT = "google.protobuf.Struct"
# Bytes and structs hold anything; these do not.
OPAQUE = {
    "tandem.embed.v1.DeadLetter.key": "a tenant and an id",
    "tandem.gateway.v1.AuditEvent.request": "a request without its redacted fields",
}


def fields() -> Iterator[FieldDescriptor]:
    for file in every_file():
        for message in file.message_types_by_name.values():
            yield from _fields_of(message)


def _fields_of(message: Descriptor) -> Iterator[FieldDescriptor]:
    yield from message.fields
    for nested in message.nested_types:
        yield from _fields_of(nested)


FIELDS = {field.full_name: field for field in fields()}


def is_struct(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == STRUCT


@pytest.mark.parametrize("name", FIELDS)
def test_what_holds_peoples_texts_is_to_be_redacted(name):
    field = FIELDS[name]
    telling = bool(TELLING & set(field.name.split("_"))) and (field.type in WORDS or is_struct(field))
    opaque = field.type == FieldDescriptor.TYPE_BYTES or is_struct(field)
    if (telling and field.name not in KEPT) or (opaque and name not in OPAQUE):
        assert field.GetOptions().debug_redact, f"{name} needs [debug_redact = true], or a reason why not"


@pytest.mark.parametrize("name", [*KEPT, *OPAQUE])
def test_no_exception_outlives_its_field(name):
    assert name in FIELDS or name in {field.name for field in FIELDS.values()}


def test_the_protos_are_all_there():
    assert Default().FindMessageTypeByName("tandem.ingest.v1.PushedDocument").full_name
    assert len(FIELDS) > 200
