"""What evaluations of kept sets count; a tenant keeps at most 100 sets, and only those with a schedule have series."""

from prometheus_client import Counter, Gauge

EVALUATIONS = Counter(
    "tandem_tune_evaluations_total", "Evaluations of kept sets that came to figures, by whether they fell.", ["outcome"]
)
EVALUATION_SCORE = Gauge(
    "tandem_tune_evaluation_score",
    "A measure of the newest evaluation of a set that has a schedule, 0 to 1.",
    ["tenant", "set", "measure"],
)
EVALUATION_FALLS = Counter(
    "tandem_tune_evaluation_falls_total",
    "Scheduled evaluations that are lower, beyond chance, than the one before or the best one.",
    ["tenant", "set"],
)

for _outcome in ("held", "fell"):
    EVALUATIONS.labels(_outcome)
