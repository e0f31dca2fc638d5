"""The service's own metrics; RPC counts and durations are common's."""

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Histogram

from services.common.telemetry import SECONDS, spanned

EMBED = "embed"
SEARCH = "search"
SETS = "sets"
PERMISSIONS = "permissions"

SEARCHES = Counter("tandem_retrieve_searches_total", "Searches answered, by whether they found anything.", ["outcome"])
PASSAGES = Histogram("tandem_retrieve_passages", "Passages in an answer.", buckets=(0, 1, 2, 4, 8, 16, 32, 64, 100))
HITS_WITHHELD = Counter(
    "tandem_retrieve_hits_withheld_total", "Hits that the index let through and the manifest did not."
)
STAGE_SECONDS = Histogram(
    "tandem_retrieve_stage_duration_seconds", "One stage of a search.", ["stage"], buckets=SECONDS
)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage of the current search, and make it a span."""
    with spanned(f"retrieve.{name}"), STAGE_SECONDS.labels(name).time():
        yield


def answered(passage_count: int) -> None:
    """Count a search that was answered."""
    SEARCHES.labels("found" if passage_count else "nothing").inc()
    PASSAGES.observe(passage_count)
