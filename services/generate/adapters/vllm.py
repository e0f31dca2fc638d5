"""The engine that is vLLM, in this process and its children."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NoReturn, Self

from vllm import AsyncEngineArgs, SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from services.common.lifeline import children_die_with_us
from services.common.lora.errors import InvalidAdapter
from services.generate.domain.errors import EngineDead, InvalidCompletions
from services.generate.domain.sampling import Sampling
from services.generate.ports import EngineAdapter, FinishReason, Job, ScoreJob, Step

# vLLM reads no cached state where log-probabilities of the prompt are wanted; a token must be drawn all the same.
_SCORING = SamplingParams(
    max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
)
_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class VllmEngine:
    """Runs jobs on vLLM's AsyncLLM."""

    def __init__(self, engine: AsyncLLM) -> None:
        self._engine = engine

    @classmethod
    def start(cls, options: Mapping[str, Any]) -> Self:
        """Start vLLM with the fields of its AsyncEngineArgs; about half a minute.

        Its children die with the thread that starts them: call it on the main thread.
        """
        with children_die_with_us():
            return cls(AsyncLLM.from_engine_args(AsyncEngineArgs(**options)))

    def close(self) -> None:
        """Stop vLLM and its children."""
        self._engine.shutdown()
        # Its finalizer would shut it down again, when the interpreter has half gone.
        del self._engine

    @contextlib.asynccontextmanager
    async def answering(self, job: Job) -> AsyncIterator[AsyncIterator[Step]]:
        try:
            with _death_told():
                collector = await self._engine.add_request(
                    job.id,
                    tokens_input(job.token_ids, cache_salt=job.cache_salt),
                    _params(job.sampling),
                    lora_request=_lora(job.adapter) if job.adapter else None,
                )
            yield _steps(collector)
        finally:
            # What has ended by itself is not known any more, and is left alone.
            await self._engine.abort(job.id)

    async def score(self, job: ScoreJob) -> list[float]:
        token_ids = [*job.token_ids, *job.completion_ids]
        try:
            with _death_told():
                collector = await self._engine.add_request(
                    job.id,
                    tokens_input(token_ids, cache_salt=job.cache_salt),
                    _SCORING,
                    lora_request=_lora(job.adapter) if job.adapter else None,
                )
                output = await collector.get()
        except (VLLMClientError, ValueError) as error:
            raise InvalidCompletions("the tokens are none of the model's, or too many") from error
        finally:
            await self._engine.abort(job.id)
        if output.prompt_logprobs is None:
            raise EngineDead("the engine gave the job up")
        places = range(len(job.token_ids), len(token_ids))
        return [output.prompt_logprobs[place][token_ids[place]].logprob for place in places]

    async def load(self, adapter: EngineAdapter) -> None:
        try:
            await self._engine.add_lora(_lora(adapter))
        except EngineDeadError as error:
            raise EngineDead("the engine has stopped") from error
        except Exception as error:  # vLLM passes on whatever its worker raised
            raise InvalidAdapter("the engine refuses the adapter", detail=type(error).__name__) from error

    async def unload(self, adapter_id: int) -> None:
        with _death_told():
            await self._engine.remove_lora(adapter_id)

    async def adapters(self) -> set[int]:
        with _death_told():
            return set(await self._engine.list_loras())

    async def forget_prompts(self) -> None:
        with _death_told():
            # It refuses while jobs run, unless they give their memory up and begin anew where they were.
            if not await self._engine.reset_prefix_cache():
                await self._engine.reset_prefix_cache(reset_running_requests=True)

    def running(self) -> int:
        return int(self._engine.get_num_unfinished_requests())

    async def holds_no_memory(self) -> bool:
        """Return whether no job holds any of the engine's cache; empties what is cached for later."""
        return bool(await self._engine.reset_prefix_cache())

    async def ping(self) -> None:
        await self.adapters()

    async def until_dead(self) -> NoReturn:
        # It carries what the engine writes, and ends only with the engine.
        await asyncio.wait({self._engine.output_handler})
        raise EngineDead("the engine has stopped")


async def _steps(collector: Any) -> AsyncIterator[Step]:
    """Give what the engine brings; what it brought between two looks comes as one step."""
    while True:
        with _death_told():
            output = collector.get_nowait() or await collector.get()
        completion = output.outputs[0]
        reason = _REASONS.get(completion.finish_reason)
        if output.finished and reason is None:
            raise EngineDead("the engine gave the job up")
        yield Step(completion.text, len(completion.token_ids), reason, output.num_cached_tokens or 0)
        if output.finished:
            return


@contextlib.contextmanager
def _death_told() -> Iterator[None]:
    try:
        yield
    except EngineDeadError as error:
        raise EngineDead("the engine has stopped") from error


def _lora(adapter: EngineAdapter) -> LoRARequest:
    return LoRARequest(adapter.name, adapter.id, adapter.folder)


def _params(sampling: Sampling) -> SamplingParams:
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed or None,
        output_kind=RequestOutputKind.DELTA,
        skip_clone=True,
    )
