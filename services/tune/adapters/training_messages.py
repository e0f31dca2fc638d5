"""Runs that train adapters, to and from protobuf."""

from collections.abc import Collection, Mapping

from google.protobuf.duration_pb2 import Duration
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.common.identity import Identity
from services.tune.domain.adapter_runs import AdapterOrder, AdapterTraining
from services.tune.domain.errors import InvalidRun, UnknownBase
from services.tune.domain.hyperparameters import Method, check_overrides

_METHODS = {pb.TrainingMethod.Value(f"TRAINING_METHOD_{method.name}"): method for method in Method}
_NUMBERS = {method: number for number, method in _METHODS.items()}
_WHOLE = frozenset(
    field.name for field in pb.Hyperparameters.DESCRIPTOR.fields if field.cpp_type == field.CPPTYPE_INT32
)


def adapter_order_of(
    request: pb.StartAdapterRunRequest, identity: Identity, models: Collection[str], max_rank: int
) -> AdapterOrder:
    """Return what a request orders; an empty base is the first of `models`.

    Raises:
        InvalidRun, InvalidHyperparameters: it cannot be done.
        UnknownBase: it is to start from something else.
    """
    base = request.base or next(iter(models), "")
    if base not in models:
        raise UnknownBase("no adapter is trained for this model here", known=", ".join(models))
    method = _METHODS.get(request.method)
    if method is None:
        raise InvalidRun("no method of training that is known")
    overrides = {field.name: float(value) for field, value in request.hyperparameters.ListFields()}
    check_overrides(overrides, max_rank)
    return AdapterOrder(
        identity,
        request.request_id,
        method,
        request.dataset,
        base,
        request.seed,
        request.parent,
        request.golden_set,
        request.alias,
        request.reward_dataset,
        overrides,
    )


def training_message(training: AdapterTraining) -> pb.AdapterTraining:
    """Return an adapter's run as callers see it."""
    at = training.at
    return pb.AdapterTraining(
        method=_NUMBERS[training.method],
        dataset=training.dataset,
        parent=training.parent,
        golden_set=training.golden_set,
        alias=training.alias,
        reward_dataset=training.reward_dataset,
        hyperparameters=_hyperparameters(training.hyperparameters),
        adapter=training.adapter,
        passed=training.passed,
        step=at.step,
        steps=at.steps,
        loss=at.loss,
        eta=_duration(at.eta_seconds) if at.eta_seconds > 0 else None,
        attempts=training.attempts,
    )


def _hyperparameters(values: Mapping[str, float]) -> pb.Hyperparameters:
    message = pb.Hyperparameters()
    for name, value in values.items():
        setattr(message, name, int(value) if name in _WHOLE else value)
    return message


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
