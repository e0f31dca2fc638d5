"""Which of the tenant's indexes a search reads."""

from typing import Protocol

from services.common.access import Role, check_role
from services.common.errors import FailedPrecondition
from services.common.identity import Identity
from services.common.indexes import TenantIndex
from services.retrieve.domain.hits import Chosen


class NoOtherIndex(FailedPrecondition):
    """There is no index beside the live one."""

    reason = "NO_OTHER_INDEX"


class Configurations(Protocol):
    """Says which indexes tenants have."""

    async def of(self, identity: Identity) -> TenantIndex:
        """Return the tenant's indexes, as of at most half a second ago; raise Unavailable if it cannot be told."""
        ...


class IndexChoice:
    """Chooses the live index, or for who may change it, the one beside it."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    async def of(self, identity: Identity, *, other: bool = False) -> Chosen:
        """Return the index to search; without a choice of the tenant's own it is the deployment's.

        Raises:
            RoleRequired: the other one is for admins.
            NoOtherIndex: there is no other one.
            IndexConfigUnavailable: it cannot be looked up.
        """
        if other:
            check_role(identity.roles, Role.ADMIN)
        configured = await self._configurations.of(identity)
        made = configured.second if other else configured.live
        if other and made is None:
            raise NoOtherIndex("there is no index beside the live one", state=configured.state)
        return Chosen(made.config.model, made.key, made.config.languages) if made else Chosen()
