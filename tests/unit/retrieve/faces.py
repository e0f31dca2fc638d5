"""The service's faces on whatever adapters a test wants, on the memory ones where it says nothing."""

from services.common.client import Outgoing
from services.common.identity import IdentitySigner
from services.retrieve.adapters.memory import MemoryConfigurations, MemoryTunings
from services.retrieve.choice import IndexChoice
from services.retrieve.finding import Finder, Languages, Sight
from services.retrieve.judging import Judge
from services.retrieve.reranking import Reranking
from services.retrieve.searching import Searcher
from services.retrieve.servicer import ErasureServicer, Faces, RetrieveServicer, TuningServicer
from tests.unit.retrieve.rows import LANGUAGES

KEY = b"k" * 32
NOW_MS = 1_700_000_000_000


def faces_of(
    embedder, index, readership, *, tunings=None, reranker=None, rerank_seconds=1.0, key=KEY, configurations=None
) -> Faces:
    tunings = tunings or MemoryTunings()
    sight = Sight(IndexChoice(configurations or MemoryConfigurations()), readership)
    finder = Finder(embedder, index, sight, Outgoing(IdentitySigner(key)), Languages(LANGUAGES, ("en",)))
    searcher = Searcher(finder, tunings, Reranking(reranker, rerank_seconds), lambda: NOW_MS)

    async def erase(_identity):
        return 0

    erasure = ErasureServicer(getattr(tunings, "erase", erase))
    return Faces(RetrieveServicer(finder, searcher), TuningServicer(tunings, Judge(finder, tunings)), erasure)
