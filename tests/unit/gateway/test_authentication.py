"""Who may come in."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.access import EVERY_ROLE
from services.common.errors import Unauthenticated
from services.common.identity import Identity
from services.common.recent import Recent
from services.gateway.adapters.memory import MemoryDirectory
from services.gateway.domain.keys import CredentialInvalid, CredentialMissing, KeyMaker, StoredKey
from services.gateway.servicer.authentication import Authentication, Keys, Tokens

OTHER_PLATFORM_KEY = b"o" * 32
PLATFORM_KEY = b"k" * 32


class Store:
    """Keys by id, and how often they were looked for."""

    def __init__(self, *keys):
        self.keys = {key.key_id: key for key in keys}
        self.looked_for = []

    async def find(self, key_id):
        self.looked_for.append(key_id)
        return self.keys.get(key_id)


@pytest.fixture
def maker():
    return KeyMaker(PLATFORM_KEY)


def stored(new, *, tenant="acme", revoked=False):
    return StoredKey(new.key_id, tenant, new.mac, revoked, EVERY_ROLE)


def authenticating(maker, keys):
    """An Authentication that knows API keys only."""
    return Authentication(Keys(maker, keys), Tokens((), 1), Recent(MemoryDirectory().expand, 1))


async def test_a_good_key_says_who_calls(maker):
    new = maker.make()
    authenticate = authenticating(maker, Recent(Store(stored(new)).find, 1))
    who = await authenticate({"authorization": f"Bearer {new.credential}"})
    subject = f"key:{new.key_id}"
    assert who == Identity("acme", subject, ("everyone", subject), EVERY_ROLE)


@pytest.mark.parametrize("metadata", [{}, {"authorization": ""}, {"authorization": "  "}, {"authorization": b"x"}])
async def test_no_credential_is_missing(maker, metadata):
    with pytest.raises(CredentialMissing):
        await authenticating(maker, Recent(Store().find, 1))(metadata)


async def test_whatever_is_not_a_key_of_ours_is_invalid_and_never_looked_for(maker):
    new, store = maker.make(), Store()
    key_id, secret = new.credential.split("_", 2)[1:]
    forged = KeyMaker(OTHER_PLATFORM_KEY).make().credential
    for value in (
        "Bearer",
        "Bearer x",
        "Bearer tk_",
        "Bearer tk__",
        f"Basic {new.credential}",
        f"Bearer xx_{key_id}_{secret}",
        f"Bearer tk_{'0' * 16}_{secret}",
        f"Bearer tk_{key_id}_{secret[:-4]}",
        f"Bearer tk_{key_id}_{secret}AA",
        f"Bearer tk_{key_id}_{'A' + secret[1:] if secret[0] != 'A' else 'B' + secret[1:]}",
        f"Bearer {forged}",
        "Bearer tk_\u00e9_\u00e9",
        f"Bearer {'x' * 100_000}",
    ):
        with pytest.raises(CredentialInvalid):
            await authenticating(maker, Recent(store.find, 1))({"authorization": value})
    assert store.looked_for == []


async def test_unknown_revoked_and_wrong_keys_get_one_and_the_same_answer(maker):
    unknown, revoked, wrong = maker.make(), maker.make(), maker.make()
    store = Store(stored(revoked, revoked=True), StoredKey(wrong.key_id, "acme", b"\0" * 32, revoked=False))
    messages = set()
    for new in (unknown, revoked, wrong):
        with pytest.raises(CredentialInvalid) as caught:
            await authenticating(maker, Recent(store.find, 1))({"authorization": f"Bearer {new.credential}"})
        messages.add((str(caught.value), str(caught.value.facts)))
    assert len(messages) == 1


def test_what_is_kept_of_a_key_is_not_its_secret(maker):
    new = maker.make()
    assert new.mac.hex() not in new.credential
    assert KeyMaker(OTHER_PLATFORM_KEY)._mac(new.key_id, maker.read(new.credential).secret) != new.mac


async def test_a_revocation_counts_when_the_memory_is_over():
    clock, store = [0.0], Store()
    maker = KeyMaker(PLATFORM_KEY)
    new = maker.make()
    store.keys[new.key_id] = stored(new)
    authenticate = authenticating(maker, Recent(store.find, 0.5, now=lambda: clock[0]))
    metadata = {"authorization": f"Bearer {new.credential}"}
    await authenticate(metadata)
    store.keys[new.key_id] = stored(new, revoked=True)
    clock[0] = 0.5
    with pytest.raises(Unauthenticated):
        await authenticate(metadata)


async def test_calls_that_come_at_once_ask_the_store_once(maker):
    new = maker.make()
    store = Store(stored(new))
    authenticate = authenticating(maker, Recent(store.find, 1))
    await asyncio.gather(*(authenticate({"authorization": f"Bearer {new.credential}"}) for _ in range(50)))
    assert store.looked_for == [new.key_id]


async def test_memory_is_bounded_for_what_was_not_found_too():
    store = Store()
    recent = Recent(store.find, 60, most=3)
    for key_id in "abcde":
        assert await recent.get(key_id) is None
    await recent.get("e")
    await recent.get("a")
    assert store.looked_for == ["a", "b", "c", "d", "e", "a"]


async def test_a_store_that_failed_is_asked_again():
    answers = iter([OSError("away"), "found"])

    async def find(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    recent = Recent(find, 60)
    with pytest.raises(OSError, match="away"):
        await recent.get("a")
    assert await recent.get("a") == "found"


async def test_a_caller_that_goes_away_does_not_end_the_search_of_the_others():
    going = asyncio.Event()

    async def find(_):
        await going.wait()
        return "found"

    recent = Recent(find, 60)
    first, second = asyncio.create_task(recent.get("a")), asyncio.create_task(recent.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    going.set()
    assert await second == "found"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIAL_MISSING"),
        ((("authorization", "Bearer tk_0000_AAAA"),), "CREDENTIAL_INVALID"),
        ((("tandem-identity-bin", b"forged"),), "CREDENTIAL_MISSING"),
    ],
)
async def test_a_call_without_a_good_key_is_refused_before_anything_behind_is_asked(gateway, behind, metadata, reason):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.asking.Search(pb.SearchRequest(query="x"), metadata=metadata)
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert not behind.requests


async def test_a_key_is_made_listed_and_revoked_over_grpc(gateway):
    access, metadata = rpc.AccessServiceStub(gateway.channel), await gateway.signed_in()
    made = await access.CreateApiKey(pb.CreateApiKeyRequest(name="  ci \x00"), metadata=metadata)
    theirs = (("authorization", f"Bearer {made.secret}"),)
    await gateway.asking.Search(pb.SearchRequest(query="x"), metadata=theirs)
    listed = await access.ListApiKeys(pb.ListApiKeysRequest(), metadata=metadata)
    assert [key.name for key in listed.api_keys] == ["ci", "test"]
    assert made.secret not in str(listed)
    for _ in range(2):
        await access.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=made.api_key.key_id), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.asking.Search(pb.SearchRequest(query="x"), metadata=theirs)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_another_tenants_keys_do_not_exist(gateway):
    theirs = await gateway.key("rival")
    access, metadata = rpc.AccessServiceStub(gateway.channel), await gateway.signed_in("acme")
    listed = await access.ListApiKeys(pb.ListApiKeysRequest(), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await access.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=theirs.split("_")[1]), metadata=metadata)
    assert theirs.split("_")[1] not in [key.key_id for key in listed.api_keys]
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_keys_page_newest_first(gateway):
    access, metadata = rpc.AccessServiceStub(gateway.channel), await gateway.signed_in()
    for number in range(4):
        await access.CreateApiKey(pb.CreateApiKeyRequest(name=f"k{number}"), metadata=metadata)
    names, token = [], ""
    while True:
        page = await access.ListApiKeys(pb.ListApiKeysRequest(page_size=2, page_token=token), metadata=metadata)
        names += [key.name for key in page.api_keys]
        token = page.next_page_token
        if not token:
            break
    assert names == ["k3", "k2", "k1", "k0", "test"]


@pytest.mark.parametrize("token", ["?", "YQ==", "MjAyNi0wMS0wMSAx", "\u00e9", "MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCA1"])
async def test_a_made_up_page_token_is_refused(gateway, token):
    access = rpc.AccessServiceStub(gateway.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await access.ListApiKeys(pb.ListApiKeysRequest(page_token=token), metadata=await gateway.signed_in())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["", " ", "\x00", "x" * 101])
async def test_a_key_needs_a_name(gateway, name):
    access = rpc.AccessServiceStub(gateway.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await access.CreateApiKey(pb.CreateApiKeyRequest(name=name), metadata=await gateway.signed_in())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
