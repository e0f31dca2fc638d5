"""What tune counts."""

from prometheus_client import Counter, Gauge

from services.tune.domain.adapter_runs import Step
from services.tune.domain.hyperparameters import Method

RUNS = Gauge("tandem_tune_runs", "Runs of all tenants that are kept, by state.", ["state"])
GATES = Counter("tandem_tune_gates_total", "Rerankers measured, by whether they passed.", ["result"])
IN_USE = Gauge("tandem_tune_rerankers_in_use", "Tenants whose searches were given a reranker that was not taken back.")
ADAPTER_GATES = Counter(
    "tandem_tune_adapter_gates_total", "Adapters measured, by method and whether they passed.", ["method", "result"]
)
# Of the run of a method that told last; a replica works on few at a time.
RUN_STEP = Gauge("tandem_tune_run_step", "Steps done of the training that runs, 0 where none does.", ["method"])
RUN_STEPS = Gauge("tandem_tune_run_steps", "Steps in all of the training that runs, 0 where none does.", ["method"])
RUN_LOSS = Gauge("tandem_tune_run_loss", "Loss of the last step of the training that runs.", ["method"])

BUILDS = Counter("tandem_tune_dataset_builds_total", "Builds of data sets that have ended, by how.", ["result"])


def show_step(method: str, step: Step | None) -> None:
    """Show how far a training is; None where it has ended."""
    at = step or Step()
    RUN_STEP.labels(method).set(at.step)
    RUN_STEPS.labels(method).set(at.steps)
    RUN_LOSS.labels(method).set(at.loss)


for _method in Method:
    show_step(_method.value, None)
    for _result in ("passed", "failed"):
        ADAPTER_GATES.labels(_method.value, _result)
for _result in ("fit", "unfit", "failed"):
    BUILDS.labels(_result)
for _result in ("passed", "failed"):
    GATES.labels(_result)
