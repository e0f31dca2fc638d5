"""An alias moves on vLLM under load: nothing fails, nothing is mixed, and a replica that was killed converges."""

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tandem.generate.v1 import generate_service_pb2 as pb

from services.common.client import open_channel
from services.common.lora.store import AdapterStore
from tests.conftest import free_address
from tests.integration.generate.conftest import KEY, Client
from tests.integration.generate.registry import FAILED, registry_on
from tests.integration.generate.test_process import children_of
from tests.integration.generate.tiny_model import NAME, probe_of, write_adapter, write_model
from tests.unit.generate.registry import CARD, SIGNER
from tests.unit.generate.waiting import eventually

pytestmark = pytest.mark.timeout(900)

STREAMS, MOVES, TOKENS = 16, 20, 12
START_SECONDS = 300
# An adapter that changes much changes what is likeliest by more than the order of additions does.
SCALE = 1.0


class Replica:
    """A generate process with vLLM on the tiny model, that can be killed and started again."""

    def __init__(self, folder, bus):
        self.folder, self.model, self.address = folder, write_model(folder), free_address()
        self.blobs, self.process = folder / "blobs", None
        self._environment = os.environ | {
            "TANDEM_IDENTITY_KEY": KEY.decode(),
            "GENERATE_ADDRESS": self.address,
            "GENERATE_METRICS_ADDRESS": free_address(),
            "GENERATE_MODEL": str(self.model),
            "GENERATE_CACHE": str(folder / "cache"),
            "GENERATE_KV_CACHE_BYTES": str(1 << 28),
            "GENERATE_MAX_RUNNING": str(STREAMS),
            # What is likeliest must not hang on how many answers are computed together.
            "GENERATE_DTYPE": "float32",
            "GENERATE_BUS": bus,
            "GENERATE_BLOBS": str(self.blobs),
            "GENERATE_ADAPTER_KEYS": f'["{SIGNER.public_key}"]',
        }

    def start(self):
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "services.generate"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill(self):
        children = children_of(self.process.pid)
        self.process.kill()
        self.process.wait()
        for child in children:
            with contextlib.suppress(Exception):
                child.kill()

    async def publish(self, number):
        """Keep another adapter in the store, and return its digest."""
        folder = write_adapter(self.folder / f"adapter-{number}", scale=SCALE, seed=number)
        probe = await asyncio.to_thread(probe_of, self.model, folder)
        card = replace(CARD, base_model=NAME, rank=4, probe=probe)
        return await AdapterStore(str(self.blobs)).publish(folder, card, SIGNER)


@pytest.fixture(scope="module")
def replica(tmp_path_factory, bus):
    replica = Replica(tmp_path_factory.mktemp("swap"), bus)
    replica.start()
    yield replica
    replica.kill()


async def until_serving(replica, channel):
    async def serving():
        assert replica.process.poll() is None, "the replica has ended"
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    await eventually(serving, START_SECONDS)


async def told(client, adapter="support", **fields):
    """Return who answered, and the answer."""
    answer = await client.answer(adapter=adapter, sampling=pb.Sampling(max_tokens=TOKENS), timeout=120, **fields)
    return answer[0].started.adapter_digest, "".join(each.delta.text for each in answer)


async def test_sixteen_streams_run_while_the_alias_moves_twenty_times(replica, bus):
    digests = [await replica.publish(number) for number in range(3)]
    async with registry_on(bus, "acme") as registry, open_channel(replica.address) as channel:
        await until_serving(replica, channel)
        client, prints = Client(channel), {}
        for revision, digest in enumerate(digests, 1):
            await registry.point(digest, revision)
            await registry.until(digest, revision=revision)
            answered, prints[digest] = await told(client)
            assert answered == digest
        base = (await told(client, ""))[1]
        assert len({*prints.values(), base}) == len(digests) + 1
        stop, answers = asyncio.Event(), []

        async def stream():
            while not stop.is_set():
                answers.append(await told(client))

        streams = [asyncio.create_task(stream()) for _ in range(STREAMS)]
        for move in range(MOVES):
            digest, revision = digests[move % len(digests)], move + len(digests) + 1
            await registry.point(digest, revision)
            await registry.until(digest, revision=revision)
            assert (await told(client))[0] == digest
        stop.set()
        await asyncio.gather(*streams)
        assert {digest for digest, _ in answers} == set(digests)
        assert [text for digest, text in answers if text != prints[digest]] == []


async def test_what_vllm_scores_is_what_was_scored_elsewhere_and_the_adapter_counts(replica, bus):
    digest = await replica.publish(10)
    async with registry_on(bus, "acme") as registry, open_channel(replica.address) as channel:
        await until_serving(replica, channel)
        await registry.point(digest, name="scored")
        await registry.until(digest)
        texts = ["a first answer", "another one, which is longer"]
        tuned, base = [await Client(channel).score(texts, adapter=name) for name in ("scored", "")]
        assert (tuned.adapter_digest, base.adapter_digest, tuned.model) == (digest, "", NAME)
        assert [each.tokens for each in tuned.scores] == [each.tokens for each in base.scores]
        assert tuned.scores[0].tokens < tuned.scores[1].tokens
        assert all(each.logprob < -each.tokens for each in (*tuned.scores, *base.scores))
        assert tuned.scores[0].logprob != pytest.approx(base.scores[0].logprob, abs=0.01)


async def test_a_probe_of_another_adapter_is_found_out_and_the_old_one_answers_on(replica, bus):
    name, right = uuid.uuid4().hex, await replica.publish(11)
    folder = write_adapter(replica.folder / "adapter-12", scale=SCALE, seed=12)
    other = await asyncio.to_thread(probe_of, replica.model, replica.folder / "adapter-11")
    wrong = await AdapterStore(str(replica.blobs)).publish(
        folder, replace(CARD, base_model=NAME, rank=4, probe=other), SIGNER
    )
    async with registry_on(bus, "acme") as registry, open_channel(replica.address) as channel:
        await until_serving(replica, channel)
        await registry.point(right, 1, name=name)
        await registry.until(right)
        await registry.point(wrong, 2, name=name)
        failed = await registry.until(wrong, FAILED)
        assert failed.reason == "PROBE_FAILED"
        assert (await told(Client(channel), name))[0] == right


async def test_a_replica_that_is_killed_while_it_loads_converges_when_it_is_back(replica, bus):
    name, digest = uuid.uuid4().hex, await replica.publish(13)
    async with registry_on(bus, "acme") as registry, open_channel(replica.address) as channel:
        await until_serving(replica, channel)
        await registry.point(digest, name=name)
        await asyncio.sleep(0.3)
        replica.kill()
        replica.start()
        await until_serving(replica, channel)
        # It serves once it has converged: what was known of aliases is loaded, also those of before.
        assert (await told(Client(channel), name))[0] == digest
        assert (await told(Client(channel)))[0]
