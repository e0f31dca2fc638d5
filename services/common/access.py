"""Which role each RPC asks of its caller, as the protos say it."""

from enum import StrEnum

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from tandem.common.v1 import access_pb2

from services.common.errors import PermissionDenied


class RoleRequired(PermissionDenied):
    """The caller does not have the role that the RPC asks for."""

    reason = "ROLE_REQUIRED"


class RoleMissing(LookupError):
    """An RPC says of no role that a caller must have it: it may not be served."""


class Role(StrEnum):
    """What a credential lets its holder do; see tandem.common.v1.Role."""

    READER = "reader"
    CONTRIBUTOR = "contributor"
    RATER = "rater"
    TRAINER = "trainer"
    ADMIN = "admin"


Roles = frozenset[Role]

EVERY_ROLE: Roles = frozenset(Role)

_BY_NUMBER: dict[int, Role] = {access_pb2.Role.Value(f"ROLE_{role.name}"): role for role in Role}
_NUMBERS = {role: access_pb2.Role.Value(f"ROLE_{role.name}") for role in Role}


def role_of(number: int) -> Role | None:
    """Return the role of a protobuf number; None where it is none that we know."""
    return _BY_NUMBER.get(number)


def number_of(role: Role) -> access_pb2.Role.ValueType:
    """Return a role's protobuf number."""
    return _NUMBERS[role]


def method_of(path: str) -> MethodDescriptor:
    """Return the descriptor of the RPC at `path`, such as "/tandem.gateway.v1.GatewayService/Ask".

    Raises:
        KeyError: no proto that is imported has it.
    """
    service, _, name = path[1:].rpartition("/")
    found: MethodDescriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return found


def required_role(path: str) -> Role:
    """Return the role that a caller of the RPC at `path` must have.

    Raises:
        RoleMissing: the RPC is not known, or names none.
    """
    try:
        number = method_of(path).GetOptions().Extensions[access_pb2.role]
        return _BY_NUMBER[number]
    except KeyError as error:
        raise RoleMissing(f"{path} names no role that its callers must have") from error


def is_read(path: str) -> bool:
    """Return whether the RPC at `path` changes nothing."""
    level = method_of(path).GetOptions().idempotency_level
    return level == MethodOptions.NO_SIDE_EFFECTS


def check_role(roles: Roles, required: Role) -> None:
    """Check that `roles` let their holder call what asks for `required`; an admin may call everything.

    Raises:
        RoleRequired: they do not.
    """
    if required not in roles and Role.ADMIN not in roles:
        raise RoleRequired("the credential has not the role that this call asks for", role=required.value)
