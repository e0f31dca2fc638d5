"""The files in a build's folder, by which the service and the process that builds tell each other what to do."""

ORDER = "order.json"
RATINGS = "ratings.jsonl"
ROWS = "rows.jsonl"
FOUND = "found.jsonl"
GOLDEN = "golden.jsonl"
PROGRESS = "progress.json"
FAILURE = "failure.json"
# What was built.
DATASET = "dataset"
