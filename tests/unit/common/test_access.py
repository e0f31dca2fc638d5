"""Who may call what is what the protos say, and an RPC that says nothing is not served."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tandem.gateway.v1 import (
    directory_service_pb2,  # noqa: F401 - so that its descriptor is known
    gateway_service_pb2,  # noqa: F401 - likewise
)

from services.common.access import (
    EVERY_ROLE,
    Role,
    RoleMissing,
    RoleRequired,
    check_role,
    is_read,
    number_of,
    required_role,
    role_of,
)
from services.common.identity import Identity
from services.common.server import Service, serve
from tests.unit.common.echo import KINDS, SERVICE, Echo, call, info_of, serving, signed


def test_the_protos_say_who_may_call():
    assert required_role("/tandem.gateway.v1.GatewayService/Search") is Role.READER
    assert required_role("/tandem.gateway.v1.AccessService/CreateApiKey") is Role.ADMIN


def test_the_protos_say_what_changes_nothing():
    assert is_read("/tandem.gateway.v1.DirectoryService/ListUsers")
    assert not is_read("/tandem.gateway.v1.DirectoryService/PutUsers")


@pytest.mark.parametrize("path", [f"/{SERVICE}/without_role", f"/{SERVICE}/nothing", "/no.such.Service/Call"])
def test_an_rpc_that_names_no_role_has_none(path):
    with pytest.raises(RoleMissing):
        required_role(path)


async def test_a_service_with_an_rpc_that_names_no_role_does_not_start():
    async def anybody(_metadata):
        raise AssertionError

    with pytest.raises(RoleMissing):
        await serve(Service("127.0.0.1:0", "127.0.0.1:0", anybody, Echo().register, (SERVICE,)))


@given(st.frozensets(st.sampled_from(Role)), st.sampled_from(Role))
def test_a_role_is_had_by_name_or_by_being_an_admin(roles, required):
    if required in roles or Role.ADMIN in roles:
        check_role(roles, required)
    else:
        with pytest.raises(RoleRequired):
            check_role(roles, required)


def test_every_role_has_a_number_and_back():
    assert {role_of(number_of(role)) for role in Role} == set(EVERY_ROLE)
    assert role_of(0) is role_of(99) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_without_the_role_is_refused_before_its_request_is_read(kind):
    echo = Echo()
    stranger = Identity("acme", "user:eve", ("everyone",), EVERY_ROLE - {Role.READER, Role.ADMIN})
    async with serving(echo) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(channel, kind, signed(stranger))
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert info_of(raised.value).reason == "ROLE_REQUIRED"
    assert not echo.callers
