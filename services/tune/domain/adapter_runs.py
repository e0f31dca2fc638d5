"""Runs that train adapters: what is ordered, and how far it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.identity import Identity
from services.common.lora.store import DIGEST
from services.tune.domain.errors import DatasetNotFit, InvalidRun
from services.tune.domain.hyperparameters import Method
from services.tune.domain.limits import check_request

# Begun, and taken up again after what worked on it was killed.
MAX_ATTEMPTS = 5
MAX_NAME_CHARS = 200
_DATASET = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AdapterOrder:
    """What a run shall train, and as whom.

    `dataset` and `reward_dataset` are digests, 64 hex digits, the latter "" for none; `parent` is "sha256:HEX" or "".
    `overrides` are what is asked for instead of default hyper-parameters, by name. The gate measures on `golden_set`,
    "" for none, against what `alias` points at, "" for the base model.
    """

    identity: Identity
    request_id: str
    method: Method
    dataset: str
    base: str
    seed: int
    parent: str = ""
    golden_set: str = ""
    alias: str = ""
    reward_dataset: str = ""
    overrides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be kept, and looked for.

        Raises:
            InvalidRun: a digest is none, or something cannot be kept.
        """
        check_request(self.request_id, self.seed)
        if not _DATASET.fullmatch(self.dataset):
            raise InvalidRun("the data set's digest is not 64 hex digits")
        if self.reward_dataset and not _DATASET.fullmatch(self.reward_dataset):
            raise InvalidRun("the digest of the data set for the rewards is not 64 hex digits")
        if self.reward_dataset and self.method is not Method.GRPO:
            raise InvalidRun("GRPO alone learns from rewards")
        if self.parent and not DIGEST.fullmatch(self.parent):
            raise InvalidRun("the parent is not sha256: and 64 hex digits")
        for name in (self.golden_set, self.alias):
            if len(name) > MAX_NAME_CHARS or "\0" in name:
                raise InvalidRun("a name is too long", limit=MAX_NAME_CHARS)


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is: steps done and in all, the last one's loss, and seconds until the end, 0 if unknown."""

    step: int = 0
    steps: int = 0
    loss: float = 0.0
    eta_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AdapterTraining:
    """An adapter run as it is shown; `adapter` is "" until it has succeeded.

    `hyperparameters` are those asked for until all are known, and then all.
    """

    method: Method
    dataset: str
    parent: str = ""
    golden_set: str = ""
    alias: str = ""
    reward_dataset: str = ""
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    adapter: str = ""
    passed: bool = False
    at: Step = Step()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What is known of a data set before it is read.

    `reasons` are why it is not fit, or what to look at; `people` are behind its rows: who asked, answered and rated.
    """

    digest: str
    kind: str
    fit: bool
    reasons: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    def check(self, method: Method) -> None:
        """Check that a method may learn from it.

        Raises:
            DatasetNotFit: it may not.
        """
        self._check_fit()
        if self.kind != method.value:
            raise DatasetNotFit("the data set is of another kind than the method learns from", kind=self.kind)

    def check_preferences(self) -> None:
        """Check that a reward model may learn from it.

        Raises:
            DatasetNotFit: it may not.
        """
        self._check_fit()
        if self.kind not in {Method.DPO, Method.KTO}:
            raise DatasetNotFit("a reward model learns from pairs, or from good and bad answers", kind=self.kind)

    def _check_fit(self) -> None:
        if not self.fit:
            raise DatasetNotFit(
                f"the data set is not fit to learn from: {'; '.join(self.reasons)}", dataset=self.digest
            )
