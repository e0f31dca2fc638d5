"""Users' tokens and end users of applications, against an issuer that speaks real HTTP."""

import asyncio
import base64
import contextlib
import json
import time

import grpc
import httpx
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.common.v1 import access_pb2
from tandem.gateway.v1 import directory_service_pb2 as people_pb
from tandem.gateway.v1 import gateway_service_pb2 as pb

from services.common.access import EVERY_ROLE, Role
from services.gateway.adapters.issuer_keys import COOL_DOWN_SECONDS, KEPT_SECONDS, LIFETIME_SECONDS, IssuerKeys
from services.gateway.adapters.issuer_keys import IssuerUnavailable as Away
from services.gateway.domain.delegation import common_roles
from services.gateway.domain.keys import CredentialInvalid
from services.gateway.domain.tokens import MAX_TOKEN_CHARS, Issuer, opened
from services.gateway.settings import Settings
from tests.unit.gateway.conftest import bearer

AUDIENCE = "tandem-test"


class RunningIssuer:
    """An issuer with keys that rotate, and a count of how often it was asked."""

    def __init__(self, url):
        self.url = url
        self.asked = 0
        self.status = 200
        self.location = ""
        self.padding = ""
        self.names = {}
        self.private = {}
        self.rotate("k1")

    def rotate(self, kid, private=None):
        self.private = {kid: private or rsa.generate_private_key(65537, 2048)}

    async def keys(self, _):
        self.asked += 1
        keys = []
        for kid, private in self.private.items():
            kind = jwt.algorithms.ECAlgorithm if isinstance(private, ec.EllipticCurvePrivateKey) else None
            public = (kind or jwt.algorithms.RSAAlgorithm).to_jwk(private.public_key(), as_dict=True)
            keys.append({**public, "kid": kid, "use": "sig"})
        headers = {"location": self.location} if self.location else {}
        return web.json_response({"keys": keys, "padding": self.padding}, status=self.status, headers=headers)

    async def discovery(self, _):
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.names})

    def token(self, *, kid=None, key=None, algorithm="RS256", headers=(), without=(), **claims):
        now = int(time.time())
        default = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600}
        all_claims = {name: value for name, value in {**default, **claims}.items() if name not in without}
        own_kid, own_key = next(iter(self.private.items()))
        return jwt.encode(
            all_claims, own_key if key is None else key, algorithm, {"kid": kid or own_kid, **dict(headers)}
        )

    def public_pem(self):
        public = next(iter(self.private.values())).public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@contextlib.asynccontextmanager
async def serving_issuer():
    runner = None
    app = web.Application()
    issuer = RunningIssuer("")
    app.add_routes([web.get("/keys", issuer.keys), web.get("/.well-known/openid-configuration", issuer.discovery)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()


@pytest.fixture
async def issuer():
    async with serving_issuer() as running:
        yield running


def trusted(issuer, **own):
    return Issuer(**{"issuer": issuer.url, "audience": AUDIENCE, "tenant": "acme", **own})


@pytest.fixture
async def gateway(issuer, starting, behind, log):
    own = {"alias_claims": ("email",), "groups_claim": "groups", "roles_claim": "roles"}
    async with starting(behind, log, issuers=[trusted(issuer, **own)]) as running:
        yield running


async def refusal(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info.reason


async def test_a_token_says_who_asks_and_the_configuration_for_which_tenant(gateway, issuer):
    who = await gateway.whoami(
        bearer(issuer.token(tenant="rival", email="ada@x.example", email_verified=True, groups=["hr"]))
    )
    assert (who.tenant_id, who.subject, who.actor) == ("acme", "user:ada", "")
    assert list(who.principals) == ["everyone", "group:hr", "user:ada", "user:ada@x.example"]
    assert list(who.roles) == [access_pb2.ROLE_READER, access_pb2.ROLE_RATER]


@pytest.mark.parametrize("email_verified", [False, "false", None, "yes"])
async def test_an_address_that_is_not_verified_is_nobodys(gateway, issuer, email_verified):
    token = issuer.token(email="boss@x.example", email_verified=email_verified)
    assert "user:boss@x.example" not in (await gateway.whoami(bearer(token))).principals


async def test_roles_come_from_the_claim_and_unknown_ones_are_none(gateway, issuer):
    who = await gateway.whoami(bearer(issuer.token(roles=["admin", "emperor"])))
    assert list(who.roles) == [access_pb2.ROLE_ADMIN]
    assert await refusal(gateway.whoami(bearer(issuer.token(roles=["emperor"])))) == "ROLE_REQUIRED"


async def test_every_wrong_token_is_invalid(gateway, issuer):
    now, stranger = int(time.time()), rsa.generate_private_key(65537, 2048)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (
            {"alg": "HS256", "kid": "k1"},
            jwt.decode(issuer.token(), options={"verify_signature": False}),
        )
    ]
    signing = ".".join(encoded)
    confused = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signing.encode(), issuer.public_pem()
    )
    good = issuer.token()
    wrong = {
        "another audience": issuer.token(aud="other"),
        "another issuer": issuer.token(iss="https://other.example"),
        "expired": issuer.token(iat=now - 900, exp=now - 60),
        "not yet valid": issuer.token(nbf=now + 90),
        "issued in the future": issuer.token(iat=now + 90),
        "another key": issuer.token(key=stranger),
        "a key of its own": issuer.token(key=stranger, headers={"jwk": jwk, "jku": "http://127.0.0.1:1/keys"}),
        "no algorithm": issuer.token(key="", algorithm="none"),
        "the public key as a secret": f"{signing}.{base64.urlsafe_b64encode(confused).rstrip(b'=').decode()}",
        "an algorithm that is not allowed": issuer.token(algorithm="RS512"),
        "a critical extension": issuer.token(headers={"crit": ["x"], "x": 1}),
        "a broken signature": good[:-10] + "AAAAAAAAAA",
        "a subject that is none": issuer.token(sub=" ada"),
        "groups that are none": issuer.token(groups={"a": 1}),
        "an end that is none": issuer.token(exp=float("inf")),
        "deep nonsense": base64.b64encode(b"[" * 3000).decode() + ".a.b",
        **{f"without {claim}": issuer.token(without=(claim,)) for claim in ("exp", "iat", "iss", "aud", "sub")},
    }
    await gateway.whoami(bearer(good))
    for why, token in wrong.items():
        assert await refusal(gateway.whoami(bearer(token))) == "CREDENTIAL_INVALID", why


@pytest.mark.parametrize("token", ["x" * (MAX_TOKEN_CHARS + 1), base64.b64encode(b"[" * 12_000).decode() + ".a.b"])
def test_a_token_that_is_too_long_or_too_deep_is_not_read(token):
    with pytest.raises(CredentialInvalid):
        opened(token)


async def test_clocks_may_differ_by_the_leeway(gateway, issuer):
    now = int(time.time())
    for claims in ({"iat": now - 600, "exp": now - 10}, {"iat": now + 10}, {"nbf": now + 10}):
        assert (await gateway.whoami(bearer(issuer.token(**claims)))).subject == "user:ada"


async def test_an_issuer_that_never_answered_is_unavailable(starting, behind, log, issuer):
    issuer.status = 500
    async with starting(behind, log, issuers=[trusted(issuer)]) as gateway:
        assert await refusal(gateway.whoami(bearer(issuer.token()))) == "ISSUER_UNAVAILABLE"


@pytest.fixture
async def keys(issuer):
    """The issuer's keys, found by discovery, and a clock to move."""
    clock = [1000.0]
    async with httpx.AsyncClient() as client:
        yield IssuerKeys(client, trusted(issuer), lambda: clock[0]), clock


async def test_a_rotated_key_is_found_and_the_old_one_is_no_more(keys, issuer):
    known, clock = keys
    assert await known.find("k1", "RS256")
    issuer.rotate("k2", ec.generate_private_key(ec.SECP256R1()))
    clock[0] += COOL_DOWN_SECONDS
    assert await known.find("k2", "ES256")
    assert await known.find("k1", "RS256") is None


async def test_a_storm_of_unknown_keys_asks_the_issuer_once_in_a_cool_down(keys, issuer):
    known, clock = keys
    await asyncio.gather(*(known.find(f"forged-{number}", "RS256") for number in range(50)))
    for number in range(50):
        assert await known.find(f"forged-{number}", "RS256") is None
    assert issuer.asked == 1
    clock[0] += COOL_DOWN_SECONDS
    await known.find("forged", "RS256")
    assert issuer.asked == 2


async def test_keys_are_remembered_for_their_lifetime(keys, issuer):
    known, clock = keys
    for _ in range(5):
        assert await known.find("k1", "RS256")
    assert issuer.asked == 1
    clock[0] += LIFETIME_SECONDS
    assert await known.find("k1", "RS256")
    assert issuer.asked == 2


async def test_known_keys_outlive_an_issuer_that_is_away_but_not_for_ever(keys, issuer):
    known, clock = keys
    assert await known.find("k1", "RS256")
    issuer.status = 503
    clock[0] += LIFETIME_SECONDS
    assert await known.find("k1", "RS256")
    with pytest.raises(Away):
        await known.find("k2", "RS256")
    clock[0] += KEPT_SECONDS
    with pytest.raises(Away):
        await known.find("k1", "RS256")
    issuer.status = 200
    clock[0] += COOL_DOWN_SECONDS
    assert await known.find("k1", "RS256")


@pytest.mark.parametrize(
    "change",
    [
        {"status": 302, "location": "/elsewhere"},
        {"padding": "x" * 300_000},
        {"names": {"issuer": "https://other.example"}},
        {"names": {"jwks_uri": "http://keys.example/keys"}},
    ],
)
async def test_an_issuer_that_answers_unsafely_is_not_believed(keys, issuer, change):
    for name, value in change.items():
        setattr(issuer, name, value)
    with pytest.raises(Away):
        await keys[0].find("k1", "RS256")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://issuer.example"},
        {"jwks_uri": "http://keys.example"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"audience": ""},
        {"leeway_seconds": 900},
        {"default_roles": ["emperor"]},
        {"misspelt": 1},
    ],
)
def test_an_unsafe_or_misspelt_issuer_stops_the_start(monkeypatch, change):
    right = {"issuer": "https://issuer.example", "audience": AUDIENCE, "tenant": "acme"}
    services = ("EMBED", "INGEST", "RETRIEVE", "GENERATE", "FEEDBACK", "TUNE")
    others = ("BUS", "DATABASE_URL", *(f"{each}_ADDRESS" for each in services))
    for name in others:
        monkeypatch.setenv(f"GATEWAY_{name}", "x")
    monkeypatch.setenv("GATEWAY_OIDC_ISSUERS", json.dumps([right]))
    assert Settings().oidc_issuers == (Issuer(**right),)
    monkeypatch.setenv("GATEWAY_OIDC_ISSUERS", json.dumps([right | change]))
    with pytest.raises(ValueError, match="oidc_issuers"):
        Settings()


def assertion(credential, **claims):
    now = int(time.time())
    default = {"sub": "ada", "iat": now, "exp": now + 60, "aud": "tandem"}
    return jwt.encode({**default, **claims}, credential, "HS256")


def on_behalf(credential, carried):
    return (*bearer(credential), ("tandem-on-behalf-of", carried))


async def test_an_application_speaks_for_its_user_and_reads_nothing_of_its_own(gateway):
    credential = await gateway.key(acts_for_users=True, roles=frozenset({Role.READER}))
    who = await gateway.whoami(on_behalf(credential, assertion(credential)))
    assert (who.tenant_id, who.subject, who.actor) == ("acme", "user:ada", f"key:{credential.split('_')[1]}")
    assert (list(who.principals), list(who.roles)) == (["everyone", "user:ada"], [access_pb2.ROLE_READER])


async def test_a_user_known_by_an_alias_is_the_same_user(gateway):
    credential = await gateway.key(acts_for_users=True)
    users = people_pb.PutUsersRequest(users=[people_pb.User(user_id="ada", aliases=["ada@x.example"])])
    await gateway.people.PutUsers(users, metadata=bearer(credential))
    who = await gateway.whoami(on_behalf(credential, assertion(credential, sub="ada@x.example")))
    assert who.subject == "user:ada"


async def test_a_users_own_token_gives_no_more_than_both_may_do(gateway, issuer):
    credential = await gateway.key(acts_for_users=True, roles=frozenset({Role.READER, Role.TRAINER}))
    token = issuer.token(roles=["reader", "contributor"], groups=["hr"])
    who = await gateway.whoami(on_behalf(credential, token))
    assert (who.subject, list(who.roles)) == ("user:ada", [access_pb2.ROLE_READER])
    assert list(who.principals) == ["everyone", "group:hr", "user:ada"]


async def test_every_wrong_assertion_is_invalid(gateway, issuer):
    credential, other = await gateway.key(acts_for_users=True), await gateway.key(acts_for_users=True)
    now = int(time.time())
    wrong = {
        "another application's": assertion(other),
        "too long a life": assertion(credential, exp=now + 301),
        "no life": assertion(credential, iat=now + 60),
        "expired": assertion(credential, iat=now - 200, exp=now - 60),
        "another audience": assertion(credential, aud="other"),
        "nobody": assertion(credential, sub=""),
        "an end that is none": assertion(credential, exp=float("inf")),
        "without an end": jwt.encode({"sub": "ada", "aud": "tandem", "iat": now}, credential, "HS256"),
        "unsigned": jwt.encode({"sub": "ada", "aud": "tandem", "iat": now, "exp": now + 60}, "", "none"),
        "an issuer's that is expired": issuer.token(exp=now - 60, iat=now - 90),
        "nothing": "",
        "nonsense": "a.b.c",
    }
    for why, carried in wrong.items():
        assert await refusal(gateway.whoami(on_behalf(credential, carried))) == "ASSERTION_INVALID", why


async def test_a_user_of_another_tenant_is_not_spoken_for(gateway, issuer):
    credential = await gateway.key("rival", acts_for_users=True)
    assert await refusal(gateway.whoami(on_behalf(credential, issuer.token()))) == "ASSERTION_INVALID"


async def test_only_a_key_that_is_made_for_it_speaks_for_users(gateway, issuer):
    credential = await gateway.key()
    assert await refusal(gateway.whoami(on_behalf(credential, assertion(credential)))) == "DELEGATION_NOT_ALLOWED"
    token = issuer.token()
    assert await refusal(gateway.whoami(on_behalf(token, token))) == "DELEGATION_NOT_ALLOWED"


async def test_a_change_in_the_directory_counts_at_the_next_call(gateway):
    credential = await gateway.key(acts_for_users=True)
    put = people_pb.PutGroupsRequest(groups=[people_pb.Group(group_id="hr", members=["user:ada"])])
    await gateway.people.PutGroups(put, metadata=bearer(credential))
    carried = on_behalf(credential, assertion(credential))
    assert "group:hr" in (await gateway.whoami(carried)).principals
    change = people_pb.ChangeMembersRequest(group_id="hr", remove=["user:ada"])
    await gateway.people.ChangeMembers(change, metadata=bearer(credential))
    assert "group:hr" not in (await gateway.whoami(carried)).principals


async def test_a_key_ends_by_itself_and_is_made_for_what_it_says(gateway):
    admin = await gateway.signed_in()
    request = pb.CreateApiKeyRequest(name="app", acts_for_users=True, quota=pb.Quota(tokens_per_minute=5))
    request.expires_at.FromMilliseconds(int(time.time() * 1000) + 600)
    made = await gateway.access.CreateApiKey(request, metadata=admin)
    assert list(made.api_key.roles) == [access_pb2.ROLE_READER, access_pb2.ROLE_RATER]
    assert (made.api_key.acts_for_users, made.api_key.quota.tokens_per_minute) == (True, 5)
    assert made.api_key.expires_at == request.expires_at
    async with asyncio.timeout(10):
        while True:
            try:
                await gateway.whoami(bearer(made.secret))
            except grpc.aio.AioRpcError:
                break
    assert await refusal(gateway.whoami(bearer(made.secret))) == "CREDENTIAL_INVALID"
    assert time.time() >= request.expires_at.ToMilliseconds() / 1000


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"roles": [0]}, "INVALID_ROLE"),
        ({"roles": [1, 99]}, "INVALID_ROLE"),
        ({"expires_at": {"seconds": 1}}, "INVALID_EXPIRY"),
        ({"expires_at": {"seconds": 2**62}}, "INVALID_EXPIRY"),
        ({"quota": {"requests_per_minute": -1}}, "INVALID_QUOTA"),
        ({"quota": {"documents": 1}}, "INVALID_QUOTA"),
        ({"quota": {"bytes": 1}}, "INVALID_QUOTA"),
    ],
)
async def test_a_key_that_could_not_be_kept_to_is_refused(gateway, request_, reason):
    call = gateway.access.CreateApiKey(pb.CreateApiKeyRequest(name="x", **request_), metadata=await gateway.signed_in())
    assert await refusal(call) == reason


async def test_only_admins_change_the_directory(gateway, issuer):
    call = gateway.people.PutUsers(people_pb.PutUsersRequest(), metadata=bearer(issuer.token()))
    assert await refusal(call) == "ROLE_REQUIRED"


def test_an_admin_has_every_role_in_common_with_others():
    reader = frozenset({Role.READER})
    assert common_roles(frozenset({Role.ADMIN}), reader) == reader
    assert common_roles(frozenset({Role.ADMIN}), frozenset({Role.ADMIN})) == EVERY_ROLE
    assert common_roles(reader, frozenset({Role.RATER})) == frozenset()
