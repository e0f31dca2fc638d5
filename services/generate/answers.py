"""Writes one answer: admits it, packs its prompt, runs it on the engine, and measures it."""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from services.common.errors import ServiceError
from services.common.identity import Identity
from services.common.prompts.prompt import Draft, Prompt, PromptPacker
from services.generate import metrics
from services.generate.admission import Admission
from services.generate.aliases import Aliases, Serving
from services.generate.domain.errors import EngineBusy
from services.generate.domain.sampling import Sampling
from services.generate.lineages import Lineages
from services.generate.ports import Engine, FinishReason, Job, Step
from services.generate.shelf import AdapterShelf, Loaded

# A prompt of so much text takes milliseconds to encode.
LONG_CHARACTERS = 16_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller wants written; `restricted` where not everybody in the tenant may read what it is from."""

    draft: Draft
    adapter: str
    sampling: Sampling
    restricted: bool
    conversation_id: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """The engine has the prompt, and this answers it."""

    prompt: Prompt
    serving: Serving


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete."""

    reason: FinishReason
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Written:
    """Whole characters that the engine has written since the last, and their tokens.

    `begun` is set on the first and `ended` on the last, which may have no text.
    """

    text: str
    tokens: int
    begun: Begun | None = None
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters and their aliases, and who may be answered by each."""

    shelf: AdapterShelf
    aliases: Aliases
    lineages: Lineages

    @contextlib.asynccontextmanager
    async def permitted(self, identity: Identity, name: str, conversation_id: str = "") -> AsyncIterator[Serving]:
        """Hold what answers one stream that may have it: by alias, or as loaded by hand; no name is the base model.

        Errors that end it under an alias carry whom they concern.

        Raises:
            AdapterNotFound, AdapterNotPermitted: there is none for the caller.
            AdapterNotReady: the alias has none on this replica yet.
            PermissionsUnavailable: whether there is cannot be told.
        """
        serving = self._found(identity, name, conversation_id)
        try:
            with self.shelf.holding(serving.loaded):
                if serving.loaded:
                    await self.lineages.check(identity, serving.loaded)
                yield serving
        except ServiceError as error:
            error.facts |= serving.facts()
            raise

    def in_use(self, identity: Identity) -> dict[str, Loaded]:
        """Return the tenant's adapters by name or alias; of an alias with a canary, who is live."""
        aliases = self.aliases.of_tenant(identity.tenant_id)
        live = {name: kept.live.loaded for name, kept in aliases.items() if kept.live and kept.live.loaded}
        return self.shelf.adapters(identity) | live

    def _found(self, identity: Identity, name: str, conversation_id: str) -> Serving:
        by_alias = self.aliases.serving(identity.tenant_id, name, conversation_id) if name else None
        return by_alias or Serving(self.shelf.named(identity, name))


class Answers:
    """Writes answers on one engine."""

    def __init__(
        self,
        engine: Engine,
        packer: PromptPacker,
        admission: Admission,
        adapters: Adapters,
        *,
        salt_key: bytes,
    ) -> None:
        self._engine = engine
        self._packer = packer
        self._admission = admission
        self._adapters = adapters
        self._salt_key = salt_key

    async def write(self, identity: Identity, wanted: Wanted) -> AsyncGenerator[Written]:
        """Give what each of the engine's steps brings.

        Raises:
            EmptyQuestion, QuestionTooLong, AdapterNotFound, AdapterNotPermitted: it cannot be answered.
            EngineBusy, EngineDead, AdapterNotReady, PermissionsUnavailable: it cannot be answered now.
        """
        clock = _Clock()
        try:
            async with self._admission.slot():
                prompt = await packed(self._packer, wanted)
                async with self._adapters.permitted(identity, wanted.adapter, wanted.conversation_id) as serving:
                    loaded = serving.loaded
                    secret = wanted.restricted or (loaded is not None and not loaded.cleared)
                    job = Job(
                        uuid.uuid4().hex,
                        prompt.token_ids,
                        wanted.sampling,
                        salt_of(self._salt_key, identity, restricted=secret),
                        loaded.engine_adapter if loaded else None,
                    )
                    async with self._engine.answering(job) as steps:
                        async for written in _written(steps, Begun(prompt, serving), clock):
                            yield written
        except EngineBusy:
            metrics.REJECTED.inc()
            raise


async def packed(packer: PromptPacker, wanted: Wanted) -> Prompt:
    """Return the prompt.

    Raises:
        EmptyQuestion, QuestionTooLong: there is none.
    """
    pack = functools.partial(packer.pack, wanted.draft, wanted.sampling.max_tokens)
    # What is long would hold every other stream up while it is read.
    return await asyncio.to_thread(pack) if wanted.draft.characters() > LONG_CHARACTERS else pack()


def salt_of(key: bytes, identity: Identity, *, restricted: bool) -> str:
    """Return what keeps one tenant's cached prompts from serving, and so timing, another's.

    What is restricted is shared only with who has the very same principals.
    """
    principals = sorted(set(identity.principals)) if restricted else None
    # JSON keeps apart what joining could not, whatever the names hold.
    named = json.dumps([identity.tenant_id, principals]).encode()
    return hmac.digest(key, b"tandem/cache-salt/v2\0" + named, hashlib.sha256).hex()


async def _written(steps: AsyncIterator[Step], begins: Begun, clock: "_Clock") -> AsyncIterator[Written]:
    begun: Begun | None = begins
    completion_tokens = unsent_tokens = cached_tokens = 0
    async for step in steps:
        if clock.stepped():
            cached_tokens = step.cached_tokens
            metrics.CACHED_TOKENS.inc(cached_tokens)
            metrics.COMPUTED_TOKENS.inc(max(0, len(begins.prompt.token_ids) - cached_tokens))
        metrics.COMPLETION_TOKENS.inc(step.tokens)
        completion_tokens += step.tokens
        unsent_tokens += step.tokens
        ended = Ended(step.reason, completion_tokens, cached_tokens) if step.reason else None
        # A step without text brought a part of a character, or the token that ends the answer.
        if step.text or ended:
            yield Written(step.text, unsent_tokens, begun, ended)
            begun, unsent_tokens = None, 0


class _Clock:
    """Times the first step from the arrival, and each other from the one before."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._histogram = metrics.FIRST_TOKEN_SECONDS

    def stepped(self) -> bool:
        """Time a step, and tell whether it was the first."""
        now, is_first = time.perf_counter(), self._histogram is metrics.FIRST_TOKEN_SECONDS
        self._histogram.observe(now - self._last)
        self._last, self._histogram = now, metrics.GAP_SECONDS
        return is_first
