"""Aliases as this replica answers under them: what each should be, and what has been proved to be it."""

from dataclasses import dataclass

from services.common.lora.routing import is_for_canary
from services.generate.domain.aliases import AdapterRef, Alias
from services.generate.domain.errors import AdapterNotReady
from services.generate.shelf import Loaded

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers a stream, the base model where `loaded` is None, and the alias under which it was found.

    `canary_id` is empty where the answer tells nothing of a canary: there is none, or it is not loaded here.
    """

    loaded: Loaded | None = None
    alias: str = ""
    canary_id: str = ""
    canary: bool = False

    @property
    def digest(self) -> str:
        """Of the adapter; empty for the base model."""
        return self.loaded.adapter.digest if self.loaded else ""

    def facts(self) -> dict[str, str]:
        """Return what an error under the alias is to carry, so that it is counted against whom it concerns."""
        if not self.alias:
            return {}
        facts = {"alias": self.alias, "adapter_digest": self.digest, "canary_id": self.canary_id}
        return facts | ({"canary": "true"} if self.canary else {})


@dataclass(frozen=True, slots=True)
class Held:
    """An adapter in use under an alias; without `ref` and `loaded`, the base model."""

    ref: AdapterRef | None = None
    loaded: Loaded | None = None


@dataclass(slots=True)
class Kept:
    """An alias as it should be, and what answers until it is; `live` is None where nothing ever could."""

    wanted: Alias
    live: Held | None = None
    canary: Held | None = None


class Aliases:
    """Knows for each alias the newest state that was heard of, and which adapter answers here."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept] = {}
        # Before everything was heard once, an unknown name may be an alias's.
        self._complete = True

    def expect(self) -> None:
        """Say that aliases are still to be heard of."""
        self._complete = False

    def complete(self) -> None:
        """Say that all that there are have been heard of."""
        self._complete = True

    def want(self, alias: Alias) -> bool:
        """Take an alias's state, and tell whether it is news; an older one is none, whenever it comes."""
        kept = self._kept.get(alias.key)
        if kept is None:
            self._kept[alias.key] = Kept(alias)
            return True
        if alias.revision <= kept.wanted.revision:
            return False
        kept.wanted = alias
        return True

    def kept(self, key: Key) -> Kept | None:
        """Return what is known of an alias."""
        return self._kept.get(key)

    def all(self) -> list[Kept]:
        """Return every alias."""
        return list(self._kept.values())

    def of_tenant(self, tenant_id: str) -> dict[str, Kept]:
        """Return a tenant's aliases by name, without those that are gone."""
        own = {name: kept for (tenant, name), kept in self._kept.items() if tenant == tenant_id}
        return {name: kept for name, kept in sorted(own.items()) if not kept.wanted.deleted}

    def forget(self, tenant_id: str) -> None:
        """Forget a tenant's aliases."""
        for key in [key for key in self._kept if key[0] == tenant_id]:
            del self._kept[key]

    def knows(self, tenant_id: str, name: str) -> bool:
        """Tell whether a name is an alias's."""
        kept = self._kept.get((tenant_id, name))
        return kept is not None and not kept.wanted.deleted

    def serving(self, tenant_id: str, name: str, conversation_id: str) -> Serving | None:
        """Return what answers a conversation under an alias; None where the name is none's.

        Raises:
            AdapterNotReady: nothing that may answer is loaded yet, or it is not known whether there is an alias.
        """
        kept = self._kept.get((tenant_id, name))
        if kept is None and not self._complete:
            raise AdapterNotReady("what aliases point at is not known yet", alias=name)
        if kept is None or kept.wanted.deleted:
            return None
        canary = kept.wanted.canary
        drawn = bool(canary and conversation_id and is_for_canary(canary.id, conversation_id, canary.share))
        if canary and drawn and kept.canary:
            return Serving(kept.canary.loaded, name, canary.id, canary=True)
        if kept.live is None:
            raise AdapterNotReady("the alias's adapter is not loaded yet", alias=name)
        compared = canary and conversation_id and not drawn and kept.live.ref == kept.wanted.live
        return Serving(kept.live.loaded, name, canary.id if canary and compared else "")
