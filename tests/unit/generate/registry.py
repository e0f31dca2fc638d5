"""A registry for tests: adapters in a real blob store with signed cards, aliases that move, and what is reported."""

import base64
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.common.lora.card import Card, Probe
from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import AdapterStore, digest_of
from services.generate.adapters.memory import pseudo_logprobs
from services.generate.domain.aliases import AdapterRef, Alias, Canary
from services.generate.ports import EngineAdapter, Readiness
from tests.unit.generate.adapters import BASE, tensors, write

SIGNER = AdapterSigner(base64.b64encode(bytes(range(32))).decode())
STRANGER = AdapterSigner(base64.b64encode(bytes(32)).decode())
VERIFIER = AdapterVerifier([SIGNER.public_key])
PROMPT, COMPLETION = (1, 2, 3), (4, 5, 6, 7)
CARD = Card("", "acme", "run", BASE.name, 2, "sft", "d" * 64, "", 0, "2026-11-30T00:00:00+00:00")


def probe_of(folder: Path) -> Probe:
    """Return what the memory engine scores with the adapter in `folder`."""
    adapter = EngineAdapter(1, "", digest_of(folder).removeprefix("sha256:"))
    scores = (tuple(pseudo_logprobs(PROMPT, COMPLETION, each)) for each in (adapter, None))
    return Probe(PROMPT, COMPLETION, *scores)


def made(folder: Path, number: int = 0, tenant: str = "acme", configuration=None) -> tuple[Path, Card]:
    """Write an adapter of its own weights, and return its folder and its card."""
    folder = write(folder / f"{tenant}-{number}", configuration, tensors(value=0.1 + number / 100))
    return folder, replace(CARD, tenant_id=tenant, probe=probe_of(folder))


async def publish(store: AdapterStore, folder: Path, number: int = 0, tenant: str = "acme") -> str:
    """Keep another adapter in the store, and return its digest."""
    return await store.publish(*made(folder, number, tenant), SIGNER)


def place_of(blobs: Path, digest: str, tenant: str = "acme") -> Path:
    """Return the folder in which the store keeps an adapter."""
    own = hashlib.sha256(tenant.encode()).hexdigest()
    return blobs / "adapters" / own / digest.removeprefix("sha256:")


def ref(digest: str, owner: str = "user:ada", *, cleared: bool = True) -> AdapterRef:
    return AdapterRef(digest, cleared, owner)


def pointing(live: str = "", revision: int = 1, *, canary: str = "", share: float = 0.5, **fields) -> Alias:
    """Return acme's alias "support" as it points at digests."""
    name, tenant = fields.get("name", "support"), fields.get("tenant", "acme")
    tried = Canary(f"canary-{canary[-8:]}", share, ref(canary)) if canary else None
    return Alias(tenant, name, revision, ref(live) if live else None, tried, deleted=fields.get("deleted", False))


@dataclass
class KeptReports:
    """Reports in a list: readiness, digest and reason or revision."""

    said: list = field(default_factory=list)

    def say(self, report):
        if (said := (report.alias.name, report.alias.revision, report.digest, report.readiness, report.reason)) not in [
            each[:5] for each in self.said
        ]:
            self.said.append((*said, report.load_seconds))

    def wanted(self, alias):
        pass

    def unloaded(self, tenant_id, digest):
        self.said.append(("", 0, digest, Readiness.UNLOADED, "", 0.0))

    def of(self, digest):
        return [each[3] for each in self.said if each[2] == digest]

    def reasons(self, digest):
        return [each[4] for each in self.said if each[2] == digest and each[3] is Readiness.FAILED]
