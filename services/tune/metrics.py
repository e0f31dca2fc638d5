"""What tune counts."""

from prometheus_client import Counter, Gauge

RUNS = Gauge("tandem_tune_runs", "Runs of all tenants that are kept, by state.", ["state"])
GATES = Counter("tandem_tune_gates_total", "Rerankers measured, by whether they passed.", ["result"])
IN_USE = Gauge("tandem_tune_rerankers_in_use", "Tenants whose searches were given a reranker that was not taken back.")

for _result in ("passed", "failed"):
    GATES.labels(_result)
