"""Moves aliases for people: who may, and what the gate must have said."""

from dataclasses import dataclass

from services.common.access import Role, check_role
from services.common.identity import Identity
from services.common.lora.checks import checked_name
from services.tune.adapters.aliases import Ending, PostgresAliases, Trial
from services.tune.adapters.registry import PostgresAdapters
from services.tune.domain.canaries import CanaryState, checked_rule, checked_share
from services.tune.domain.errors import GateFailed
from services.tune.domain.registry import Alias, Change, KeptAdapter, Target, checked_reason


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of an alias; `expected` is the revision that it must be at, None for whichever."""

    alias: str
    digest: str = ""
    expected: int | None = None
    cleared: bool = False
    override: bool = False
    reason: str = ""


class Mover:
    """Moves aliases as somebody, in their tenant."""

    def __init__(self, adapters: PostgresAdapters, aliases: PostgresAliases) -> None:
        self._adapters = adapters
        self._aliases = aliases

    async def promote(self, identity: Identity, wish: Wish) -> Alias:
        """Point an alias at an adapter.

        Raises:
            GateFailed: it did not pass, and there is no override.
            RoleRequired: an override, or clearing, is not an admin's.
            InvalidAdapterName, InvalidReason: the alias or the reason is none.
            AdapterNotFound, AliasChanged, CanaryRunning, TooManyAliases: as PostgresAliases.promote.
        """
        change = await self._allowed(identity, wish)
        target = Target(wish.digest, wish.cleared, identity.subject)
        return await self._aliases.promote(identity.tenant_id, checked_name(wish.alias), target, change)

    async def start_canary(self, identity: Identity, wish: Wish, trial: Trial) -> Alias:
        """Try an adapter under an alias.

        Raises:
            InvalidCanary: the share or the rule is out of bounds.
            GateFailed, RoleRequired and the others: as of `promote`.
        """
        checked_rule(trial.rule)
        checked_share(trial.share)
        change = await self._allowed(identity, wish)
        return await self._aliases.start_canary(identity.tenant_id, checked_name(wish.alias), trial, change)

    async def end_canary(self, identity: Identity, wish: Wish, *, promote: bool) -> Alias:
        """Point an alias at its canary, or take the canary back.

        Raises:
            AliasNotFound, AliasChanged, NoCanary: as PostgresAliases.end_canary.
        """
        ending = Ending(CanaryState.PROMOTED if promote else CanaryState.STOPPED)
        return await self._aliases.end_canary(identity.tenant_id, wish.alias, ending, _change(identity, wish))

    async def roll_back(self, identity: Identity, wish: Wish) -> Alias:
        """Point an alias at what it pointed at before its last promotion.

        Raises:
            AliasNotFound, AliasChanged, NothingToRollBack and others: as PostgresAliases.roll_back.
        """
        return await self._aliases.roll_back(identity.tenant_id, wish.alias, _change(identity, wish))

    async def delete(self, identity: Identity, wish: Wish) -> None:
        """Take an alias away.

        Raises:
            AliasNotFound, AliasChanged, CanaryRunning: as PostgresAliases.delete.
        """
        await self._aliases.delete(identity.tenant_id, wish.alias, _change(identity, wish))

    async def _allowed(self, identity: Identity, wish: Wish) -> Change:
        change = _change(identity, wish)
        if wish.cleared:
            check_role(identity.roles, Role.ADMIN)
        if not wish.digest:
            return change
        adapter = await self._adapters.find(identity.tenant_id, wish.digest)
        overridden = _check_gate(identity, adapter, override=wish.override)
        return Change(change.subject, change.reason, change.expected, overridden)


def _change(identity: Identity, wish: Wish) -> Change:
    return Change(identity.subject, checked_reason(wish.reason, override=wish.override), wish.expected)


def _check_gate(identity: Identity, kept: KeptAdapter, *, override: bool) -> bool:
    """Return whether only an admin's override lets the adapter through."""
    report = kept.adapter.report
    if report and report.passed:
        return False
    if not override:
        failed = [rule.name for rule in report.rules if rule.required and not rule.passed] if report else []
        why = (
            "the adapter did not pass the gate" if report else "the adapter was trained elsewhere: no gate has seen it"
        )
        raise GateFailed(why, rules=", ".join(failed))
    check_role(identity.roles, Role.ADMIN)
    return True
