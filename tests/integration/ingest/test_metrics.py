"""What Prometheus reads of a running service."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.ingest.conftest import eventually


def scrape(ingest):
    with urllib.request.urlopen(f"http://{ingest.metrics_address}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }


def test_freshness_and_states_are_measured(ingest, client, index, folder):
    client.files(folder, watch=True)
    eventually(lambda: client.source().HasField("last_sync_at"))
    before = scrape(ingest)
    (folder / "a.md").write_text("alpha")
    index.answer_until(lambda: client.source().counts.indexed == 1)
    after = scrape(ingest)

    def rise(*key):
        return after.get(key, 0) - before.get(key, 0)

    assert rise("tandem_ingest_documents_total", "pending") == 1
    assert rise("tandem_ingest_documents_total", "indexed") == 1
    assert rise("tandem_ingest_freshness_seconds_count", "recorded") == 1
    assert rise("tandem_ingest_freshness_seconds_count", "changed") == 1
    assert 0 < rise("tandem_ingest_freshness_seconds_sum", "changed") < 60
    assert rise("tandem_ingest_sync_duration_seconds_count", "done") >= 1
    assert eventually(lambda: scrape(ingest).get(("tandem_ingest_outbox_depth",)) == 0)
