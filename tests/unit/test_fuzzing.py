"""What is made to break the services is as extreme as it is meant to be."""

import base64

import pytest
from google.protobuf.message import DecodeError
from hypothesis import find, given
from hypothesis import strategies as st
from tandem.generate.v1 import generate_service_pb2 as generate
from tandem.ingest.v1 import ingest_service_pb2 as ingest
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve

from tests.fuzzing import MANY, messages, mutated
from tests.messages import every_rpc, path_of, values_in


def key_of_any(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        return ""


@pytest.mark.parametrize("method", every_rpc(), ids=path_of)
@given(data=st.data())
def test_every_request_can_be_made(method, data):
    message = data.draw(messages(method.input_type))
    assert message.DESCRIPTOR.full_name == method.input_type.full_name
    assert type(message).FromString(message.SerializeToString()).DESCRIPTOR is message.DESCRIPTOR


@pytest.mark.parametrize(
    ("descriptor", "extreme"),
    [
        (generate.GenerateRequest, lambda each: each.sampling.temperature == float("inf")),
        (generate.GenerateRequest, lambda each: each.sampling.temperature != each.sampling.temperature),
        (generate.GenerateRequest, lambda each: each.sampling.seed == 2**63 - 1),
        (generate.GenerateRequest, lambda each: "\0" in each.question),
        (retrieve.RetrieveRequest, lambda each: each.filter.changed_after.nanos < 0),
        (retrieve.RetrieveRequest, lambda each: "deeper" in each.filter.metadata.fields),
        (retrieve.RetrieveRequest, lambda each: len(each.filter.sources) == MANY),
        (ingest.ListDocumentsRequest, lambda each: each.state == 99),
        (ingest.GetSourceRequest, lambda each: each.source == "house"),
        (ingest.ListSourcesRequest, lambda each: "\0" in key_of_any(each.page_token)),
        (ingest.ListSourcesRequest, lambda each: key_of_any(each.page_token).startswith("0001-01-01")),
    ],
)
def test_extremes_are_among_them(descriptor, extreme):
    assert extreme(find(messages(descriptor.DESCRIPTOR, ("house",)), extreme))


def test_some_bytes_are_no_message():
    def broken(body: bytes) -> bool:
        try:
            retrieve.RetrieveRequest.FromString(body)
        except DecodeError:
            return True
        return False

    assert find(mutated(messages(retrieve.RetrieveRequest.DESCRIPTOR)), broken)


@given(messages(ingest.CreateSourceRequest.DESCRIPTOR))
def test_nothing_of_this_host_is_named(request):
    assert not any(
        isinstance(value, str) and value.startswith(("/", "~")) and not value.startswith("/nowhere")
        for _, value in values_in(request)
    )
