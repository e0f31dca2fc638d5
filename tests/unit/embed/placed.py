"""An indexer of every index of every place, all in memory, for the tests of both."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from services.common.blobs import Blobs, digest_of
from services.common.identity import system
from services.common.index_config import IndexConfig
from services.common.indexes import Made
from services.common.placements import Placement, PlacementUnavailable, PlaceUnknown
from services.embed.adapters.memory import MemoryEmbedder, MemoryPassageIndex, WordTokens
from services.embed.chunking.documents import DocumentChunker
from services.embed.domain import Change, ParsedDocument
from services.embed.indexing import BlobsUnavailable, Reader
from services.embed.lanes import LaneLimits, open_lanes
from services.embed.models import Model, Models
from services.embed.placing import PlacedIndexer, Registry
from services.embed.recipes import Recipes
from tests.configured import Configured

OWN, SECOND = "first", "second"
LIVE = Made(IndexConfig(OWN, ("en",), 64, 0), OWN)

T = system("t", "test")
TEXT = "# A\n\nfirst\n\n# B\n\nsecond"


class PlainParser:
    def __init__(self):
        self.parsed = 0

    async def parse(self, content, change):
        self.parsed += 1
        return ParsedDocument(content.decode())


class FailingIndex(MemoryPassageIndex):
    """Fails once it has no writes left, and tells of each write."""

    def __init__(self):
        super().__init__()
        self.writes_left = 1000
        self.on_write = lambda: None

    async def upsert(self, identity, passages):
        if self.writes_left == 0:
            raise BlobsUnavailable("crashed")
        self.writes_left -= 1
        await super().upsert(identity, passages)
        self.on_write()


class Settled:
    """Says what it is told to."""

    def __init__(self):
        self.placement = Placement()
        self.away = False

    async def of(self, identity):
        if self.away:
            raise PlacementUnavailable("away")
        return self.placement

    now = of


class CountingEmbedder(MemoryEmbedder):
    """Counts the texts that it embeds."""

    def __init__(self):
        super().__init__()
        self.texts = 0

    def embed(self, texts):
        self.texts += len(texts)
        return super().embed(texts)


class MemoryIndexes(dict):
    """Indexes by place, those beside the live ones by place and key."""

    def of(self, identity, place, recipe):
        if place not in self:
            raise PlaceUnknown("unknown")
        return self[place] if recipe.key == OWN else self.setdefault(f"{place} {recipe.key}", FailingIndex())

    def names(self, identity):
        return [place for place in self if " " not in place]

    async def drop(self, identity, place, key=None):
        wanted = [name for name in self if name.startswith(place) and (key is None or name == f"{place} {key}")]
        return sum([await self[name].drop(identity) for name in wanted])


class Platform:
    def __init__(self, folder, embedders, lanes):
        self.indexes = MemoryIndexes(shared=FailingIndex(), own=FailingIndex())
        self.placements = Settled()
        self.configured = Configured()
        self.blobs = Blobs(str(folder))
        self.parser = PlainParser()
        reader = Reader(self.blobs, self.parser, DocumentChunker(WordTokens(), LIVE.config), 1000)
        models = Models(Model(OWN, 8, WordTokens(), lanes[OWN]), {SECOND: self.load})
        self.embedders, self.lanes, self.loads, self.load_fails = embedders, lanes, 0, False
        recipes = Recipes(LIVE, models, reader)
        self.indexer = PlacedIndexer(self.indexes, Registry(self.placements, self.configured, recipes))

    async def load(self):
        self.loads += 1
        if self.load_fails:
            raise OSError("not there")
        return Model(SECOND, 8, WordTokens(), self.lanes[SECOND])

    async def index_one(self, version, text="", **fields):
        """Return what became of it in the live index."""
        return (await self.result_of(version, text, **fields)).outcome

    async def result_of(self, version, text="", **fields):
        content = text.encode()
        key = await self.blobs.put("t", content) if text else ""
        change = Change("t", "d", version, blob_key=key, content_digest=digest_of(content), **fields)
        return (await self.indexer.index([change]))[0]

    async def rows(self, place):
        """Return what is in a place, or in a second index: "shared KEY"."""
        if place not in self.indexes:
            return set()
        return {(row.id, row.version) for row in await self.indexes[place].stored(T, ["d"])}


@asynccontextmanager
async def open_platform(folder) -> AsyncIterator[Platform]:
    embedders = {name: CountingEmbedder() for name in (OWN, SECOND)}
    async with AsyncExitStack() as stack:
        lanes = {
            name: await stack.enter_async_context(open_lanes(embedder, LaneLimits(16, 64, 1000)))
            for name, embedder in embedders.items()
        }
        yield Platform(folder, embedders, lanes)
