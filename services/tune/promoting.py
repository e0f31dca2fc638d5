"""Puts rerankers into use, and takes them back."""

from collections.abc import Callable
from datetime import datetime

from services.common.access import Role, check_role
from services.common.identity import Identity
from services.tune.adapters.postgres import PostgresRerankers
from services.tune.domain.errors import GateFailed, NothingToRollBack
from services.tune.domain.runs import LiveReranker, Promotion, Reranker
from services.tune.ports import LiveTuning


class Promoter:
    """Changes the tuning that is live, and remembers what was in use before."""

    def __init__(
        self,
        rerankers: PostgresRerankers,
        tuning: LiveTuning,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._rerankers = rerankers
        self._tuning = tuning
        self._now = now
        self._new_id = new_id

    async def promote(self, identity: Identity, digest: str, *, override: bool) -> Promotion | None:
        """Have the tenant's searches use a reranker; None where they do already.

        Raises:
            RerankerNotFound: the tenant has none of this digest.
            GateFailed: it did not pass, and there is no override.
            RoleRequired: the override is not an admin's.
            TuningChanged: somebody else changed the tuning meanwhile.
        """
        reranker = await self._rerankers.find(identity, digest)
        overridden = _check_gate(identity, reranker, override=override)
        live = await self._tuning.get(identity)
        wanted = LiveReranker(digest, reranker.report.rerank_weight)
        if (live.digest, live.weight) == (wanted.digest, wanted.weight):
            return None
        return await self._change(identity, live, wanted, overridden=overridden)

    async def roll_back(self, identity: Identity) -> Promotion:
        """Have the tenant's searches use what they used before the last promotion.

        Raises:
            NothingToRollBack: there is none that is not undone, or another reranker was put into use since.
            TuningChanged: somebody else changed the tuning meanwhile.
        """
        last = await self._rerankers.promoted(identity)
        live = await self._tuning.get(identity)
        if last is None or live.digest != last.reranker:
            raise NothingToRollBack("no promotion is there to take back")
        wanted = LiveReranker(last.previous, last.previous_weight)
        return await self._change(identity, live, wanted, undoes=last.promotion_id)

    async def _change(
        self,
        identity: Identity,
        live: LiveReranker,
        wanted: LiveReranker,
        *,
        overridden: bool = False,
        undoes: str = "",
    ) -> Promotion:
        put = await self._tuning.put(identity, wanted.digest, wanted.weight, live.version)
        promotion = Promotion(
            promotion_id=self._new_id(),
            reranker=wanted.digest,
            previous=live.digest,
            rerank_weight=wanted.weight,
            previous_weight=live.weight,
            tuning_version=put.version,
            subject=identity.subject,
            overridden=overridden,
            undoes=undoes,
            promoted_at=self._now(),
        )
        await self._rerankers.add_promotion(identity, promotion)
        return promotion


def _check_gate(identity: Identity, reranker: Reranker, *, override: bool) -> bool:
    """Return whether only an admin's override lets the reranker through."""
    report = reranker.report
    if report.passed:
        return False
    if not override:
        raise GateFailed(
            "the reranker was not shown to be better than what is live",
            difference_low=round(report.difference_low, 4),
            difference_high=round(report.difference_high, 4),
        )
    check_role(identity.roles, Role.ADMIN)
    return True
