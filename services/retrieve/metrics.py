"""The service's own metrics; RPC counts and durations are common's."""

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Histogram

from services.common.telemetry import SECONDS, spanned

EMBED = "embed"
SEARCH = "search"
SETS = "sets"
PERMISSIONS = "permissions"
TUNING = "tuning"
FUSE = "fuse"
RERANK = "rerank"
STEPS = "steps"
DUPLICATES = "duplicates"
WIDEN = "widen"

SEARCHES = Counter("tandem_retrieve_searches_total", "Searches answered, by whether they found anything.", ["outcome"])
PASSAGES = Histogram("tandem_retrieve_passages", "Passages in an answer.", buckets=(0, 1, 2, 4, 8, 16, 32, 64, 100))
HITS_WITHHELD = Counter(
    "tandem_retrieve_hits_withheld_total", "Hits that the index let through and the manifest did not."
)
STAGE_SECONDS = Histogram(
    "tandem_retrieve_stage_duration_seconds", "One stage of a search.", ["stage"], buckets=SECONDS
)
DENSE_SHARE = Histogram(
    "tandem_retrieve_dense_share",
    "The dense leg's share of a search's fused scores.",
    buckets=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1),
)
RERANKED = Counter(
    "tandem_retrieve_rerankings_total", "Rerankings, by how they ended: whole, late or failed.", ["outcome"]
)
FURTHER = Counter(
    "tandem_retrieve_further_searches_total",
    "Searches that questions were taken apart into, by how they ended: found, nothing, failed; late counts a question.",
    ["outcome"],
)
COLLAPSED = Counter("tandem_retrieve_hits_collapsed_total", "Hits that said nearly what a better one says.")


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage of the current search, and make it a span."""
    with spanned(f"retrieve.{name}"), STAGE_SECONDS.labels(name).time():
        yield


def answered(passage_count: int) -> None:
    """Count a search that was answered."""
    SEARCHES.labels("found" if passage_count else "nothing").inc()
    PASSAGES.observe(passage_count)
