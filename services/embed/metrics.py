"""What `embed` counts and times."""

from prometheus_client import Counter, Gauge, Histogram

from services.common.telemetry import SECONDS

DOCUMENTS = Counter("tandem_embed_documents_total", "Documents brought to an end.", ["outcome"])
CHUNKS = Counter("tandem_embed_chunks_total", "Chunks written, by where their vectors came from.", ["vectors"])
SUSPICIOUS_CHUNKS = Counter(
    "tandem_embed_suspicious_chunks_total", "New chunks that look as if they would give a model orders.", ["reason"]
)
DEAD_LETTERS = Counter("tandem_embed_dead_letters_total", "Records that can never be processed.", ["reason"])
PARSE_SECONDS = Histogram("tandem_embed_parse_seconds", "Parsing one document.", ["where"], buckets=SECONDS)
EMBED_SECONDS = Histogram("tandem_embed_batch_seconds", "Embedding one batch.", ["lane"], buckets=SECONDS)
BATCH_TEXTS = Histogram(
    "tandem_embed_batch_texts", "Texts embedded together.", ["lane"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
QUEUE_SECONDS = Histogram("tandem_embed_queue_seconds", "A text's wait for its batch.", ["lane"], buckets=SECONDS)
AHEAD_RECORDS = Gauge("tandem_embed_ahead_records", "Records that were read ahead and wait.")
AHEAD_BYTES = Gauge("tandem_embed_ahead_bytes", "Size of the records that were read ahead and wait.")
