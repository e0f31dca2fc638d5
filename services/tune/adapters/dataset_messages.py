"""Builds and data sets to and from protobuf."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.tune.v1 import dataset_service_pb2 as pb

from services.common.identity import Identity
from services.tune.datasets.errors import InvalidDatasetBuild
from services.tune.datasets.parameters import (
    DEFAULT_DOCUMENTS,
    DEFAULT_SHARE,
    DEFAULT_TOKENS,
    DEFAULT_UNANSWERABLE_EVERY,
    MAX_DOCUMENTS,
    BuildOrder,
    FromDocuments,
    Parameters,
)
from services.tune.datasets.rows import Kind
from services.tune.domain.datasets import DatasetBuild, KeptDataset
from services.tune.domain.runs import RunState

_KINDS = {kind: pb.DatasetKind.Value(f"DATASET_KIND_{kind.name}") for kind in Kind}
_STATES = {state: pb.DatasetBuildState.Value(f"DATASET_BUILD_STATE_{state.name}") for state in RunState}


def order_of(request: pb.StartDatasetBuildRequest, identity: Identity) -> BuildOrder:
    """Return what a request orders.

    Raises:
        InvalidDatasetBuild: it cannot be done.
    """
    after = request.ratings.rated_after if request.ratings.HasField("rated_after") else None
    return BuildOrder(
        identity=identity,
        request_id=request.request_id,
        kind=kind_of(request.kind),
        parameters=parameters_of(request.parameters),
        ratings=request.HasField("ratings"),
        rated_after=_moment(after) if after else None,
        documents=_documents(request.documents) if request.HasField("documents") else None,
    )


def upload_of(request: pb.UploadDatasetRequest, identity: Identity, key: str) -> BuildOrder:
    """Return what a request orders whose rows are kept under a key.

    Raises:
        InvalidDatasetBuild: it cannot be done.
    """
    parameters = parameters_of(request.parameters)
    return BuildOrder(identity, request.request_id, kind_of(request.kind), parameters, upload=key)


def kind_of(number: int) -> Kind:
    """Return the kind that a request names.

    Raises:
        InvalidDatasetBuild: it names none.
    """
    for kind, value in _KINDS.items():
        if value == number:
            return kind
    raise InvalidDatasetBuild("the kind is one of sft, kto, dpo and grpo")


def parameters_of(message: pb.DatasetParameters) -> Parameters:
    """Return how rows are cleaned and split.

    Raises:
        InvalidDatasetBuild: a value is beyond its limits.
    """
    return Parameters(
        seed=message.seed,
        languages=tuple(message.languages),
        max_tokens=message.max_tokens or DEFAULT_TOKENS,
        test_share=message.test_share or DEFAULT_SHARE,
        validation_share=message.validation_share or DEFAULT_SHARE,
        names=tuple(message.names),
        not_personal=tuple(message.not_personal),
        keep_personal_data=message.keep_personal_data,
    )


def build_message(build: DatasetBuild) -> pb.DatasetBuild:
    """Return a build as callers see it."""
    return pb.DatasetBuild(
        build_id=build.build_id,
        state=_STATES[build.state],
        kind=_KINDS[Kind(build.kind)],
        origins=build.origins,
        stage=build.stage,
        progress=build.progress,
        subject=build.subject,
        dataset=build.dataset,
        failure=build.failure,
        failure_message=build.failure_message,
        created_at=_timestamp(build.created_at),
        started_at=_timestamp(build.started_at),
        ended_at=_timestamp(build.ended_at),
    )


def dataset_message(dataset: KeptDataset, deleted_documents: int) -> pb.Dataset:
    """Return a data set as callers see it."""
    return pb.Dataset(
        digest=dataset.digest,
        kind=_KINDS[Kind(dataset.kind)],
        train_rows=dataset.train_rows,
        validation_rows=dataset.validation_rows,
        test_rows=dataset.test_rows,
        origins=dataset.origins,
        fit=dataset.fit and not dataset.erased,
        reasons=dataset.reasons,
        build_id=dataset.build_id,
        subject=dataset.subject,
        created_at=_timestamp(dataset.created_at),
        stale=bool(deleted_documents or dataset.erased),
        document_count=len(dataset.documents),
        deleted_documents=deleted_documents,
        person_count=len(dataset.people) + dataset.erased_people,
        erased_people=dataset.erased_people,
        erased=dataset.erased,
    )


def _documents(message: pb.DocumentsSource) -> FromDocuments:
    return FromDocuments(
        sources=tuple(message.sources),
        max_documents=min(message.max_documents or DEFAULT_DOCUMENTS, MAX_DOCUMENTS),
        unanswerable_every=message.unanswerable_every or DEFAULT_UNANSWERABLE_EVERY,
    )


def _moment(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidDatasetBuild("rated_after is no time") from error


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
