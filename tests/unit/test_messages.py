"""The requests that prove who may see what hold what they should, whatever the message is."""

from tandem.erasure.v1 import erasure_service_pb2 as erasure
from tandem.feedback.v1 import feedback_service_pb2 as feedback
from tandem.gateway.v1 import directory_service_pb2 as directory
from tandem.gateway.v1 import gateway_service_pb2 as gateway
from tandem.ingest.v1 import ingest_service_pb2 as ingest
from tandem.ingest.v1 import secret_service_pb2 as secrets

from tests.messages import Pool, every_rpc, filled, made_up, path_of, replaced, values_in


def pool_of(*messages) -> Pool:
    pool = Pool()
    for message in messages:
        pool.learn(message)
    return pool


SOURCE = ingest.Source(source_id="s-1", name="house", kind="push", readers=["group:staff"])
SECRET = secrets.Secret(name="token-of-the-wiki", key_id="k")


def test_every_rpc_of_every_service_is_found():
    paths = list(map(path_of, every_rpc()))
    assert len(paths) == len(set(paths)) > 40
    assert "/tandem.erasure.v1.ErasureService/Erase" in paths
    assert "/tandem.gateway.v1.ErasureService/Erase" not in paths


def test_an_object_is_named_by_its_id_and_by_its_name():
    requests = filled(ingest.GetSourceRequest.DESCRIPTOR, pool_of(SECRET, SOURCE), 20)
    assert requests[0] == ingest.GetSourceRequest()
    assert requests[1].source == "s-1" or requests[1].source == "house"
    assert {"s-1", "house", "token-of-the-wiki"} <= {request.source for request in requests}


def test_a_name_is_that_of_what_the_message_is_about():
    requests = filled(secrets.DeleteSecretRequest.DESCRIPTOR, pool_of(SOURCE, SECRET), 2)
    assert requests[1].name == "token-of-the-wiki"


def test_a_credential_is_no_name_though_its_field_is_called_like_one():
    pool = pool_of(*(gateway.CreateApiKeyResponse(secret=f"tk_{number}") for number in range(9)), SECRET)
    assert filled(secrets.DeleteSecretRequest.DESCRIPTOR, pool, 2)[1].name == "token-of-the-wiki"
    assert "tk_8" in pool.texts()


def test_of_one_name_the_first_and_the_last_are_tried():
    pool = pool_of(*(gateway.ApiKey(key_id=f"k{number}") for number in range(20)), SOURCE, SECRET)
    tried = [request.key_id for request in filled(gateway.RevokeApiKeyRequest.DESCRIPTOR, pool, 40)]
    assert {"k0", "k19", "house", "token-of-the-wiki"} <= set(tried)


def test_nested_and_repeated_fields_are_filled():
    pool = pool_of(SOURCE, ingest.PushedDocument(external_id="d-1", title="Prices", readers=["user:ada"]))
    request = filled(ingest.PushDocumentsRequest.DESCRIPTOR, pool, 2)[1]
    assert request.source
    [document] = request.documents
    assert (document.external_id, document.title, document.content) == ("d-1", "Prices", b"content")


def test_every_alternative_is_tried_also_one_without_fields():
    requests = filled(erasure.EraseRequest.DESCRIPTOR, pool_of(ingest.Source(readers=["user:ada"])), 30)
    assert {request.WhichOneof("scope") for request in requests} == {None, "person", "whole_tenant"}
    assert any("user:ada" in request.person.principals for request in requests)


def test_page_tokens_are_tried_but_hide_nothing():
    pool = pool_of(SOURCE, ingest.ListDocumentsResponse(next_page_token="cGFnZQ=="))
    requests = filled(ingest.ListDocumentsRequest.DESCRIPTOR, pool, 60)
    assert any(request.source == "s-1" and not request.page_token for request in requests)
    assert any(request.page_token == "cGFnZQ==" for request in requests)


def test_enumerations_are_tried_whole():
    requests = filled(feedback.RateRequest.DESCRIPTOR, pool_of(gateway.End(answer_id="a")), 30)
    assert {request.thumb for request in requests} == {0, 1, 2}
    assert requests[1].answer_id == "a"


def test_the_number_of_messages_is_bounded():
    assert len(filled(ingest.CreateSourceRequest.DESCRIPTOR, pool_of(SOURCE, SECRET), 7)) == 7


def test_what_is_made_up_looks_alike_and_is_another():
    assert made_up("user:ada-7") != "user:ada-7"
    assert made_up("user:ada-7").startswith("user:")
    assert made_up("user:ada-7")[-2] == "-"
    assert set(made_up("5f0c" * 8)) <= set("0123456789abcdef")
    assert made_up("house", 1) != made_up("house", 2)


def test_values_are_replaced_wherever_they_are():
    group = directory.PutGroupsRequest(groups=[directory.Group(group_id="a", members=["user:a", "user:b"])])
    changed = replaced(group, {"a": "x", "user:b": "user:y"})
    assert [value for _, value in values_in(changed)] == ["x", "user:a", "user:y"]
    assert group.groups[0].group_id == "a"
