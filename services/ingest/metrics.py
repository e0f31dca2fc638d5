"""What ingest tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from services.common.telemetry import SECONDS

DOCUMENTS = Counter("tandem_ingest_documents_total", "Documents that came into a state.", ["state"])
REPUBLISHED = Counter("tandem_ingest_republished_total", "Changes given to the log again, for want of an answer.")
OUTBOX_DEPTH = Gauge("tandem_ingest_outbox_depth", "Records committed, not yet in the log.")
OLDEST_UNINDEXED = Gauge(
    "tandem_ingest_oldest_unindexed_seconds", "Age of the oldest change that the index has not answered."
)
FRESHNESS = Histogram(
    "tandem_ingest_freshness_seconds",
    "From a change at its source (`changed`; of changes since the source was made), or from its "
    "record here (`recorded`), to the index.",
    ["since"],
    buckets=(*SECONDS, 300, 600, 1800),
)
SYNC_SECONDS = Histogram(
    "tandem_ingest_sync_duration_seconds",
    "Comparing a source with the manifest and recording every difference.",
    ["outcome"],
    buckets=(*SECONDS, 300, 600, 1800),
)
REVOCATION = Histogram(
    "tandem_ingest_revocation_seconds",
    "From the receipt of what takes a document from a reader (a call, or what a sync found) to its commit "
    "(`manifest`, once a transaction; from then on no search shows it), and to the index (`index`, once a document).",
    ["effect"],
    buckets=(*SECONDS, 300, 600, 1800),
)
BLOBS_REMOVED = Counter("tandem_ingest_blobs_removed_total", "Contents removed that nobody needed any more.")
