"""A set of questions as what a reranker learns from."""

from collections.abc import Iterable
from pathlib import Path

from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.evaluation.catalogue import NoDocuments, relevant_documents
from services.cli.evaluation.work import NoSet, catalogue_of, read
from services.cli.gateway import Gateway
from services.cli.session import Session
from services.common.evaluation.questions import Duplicates, Question


def questions(
    session: Session, path: Path | None, split: str, duplicates: Duplicates, *, from_ratings: bool
) -> tuple[Question, ...]:
    """Return the questions of a set that name documents.

    Raises:
        Failure: there is no set, or none that can be used.
    """
    if path is None or from_ratings:
        raise NoSet("name a set with --set, or take past ratings with --from-ratings")
    session.output.say(f"reading {path}")
    found = tuple(each for each in read(path, split, duplicates).questions if each.documents and each.answerable)
    if not found:
        raise NoDocuments("no question of the set names a document that answers it")
    return found


def fill(message: pb.TrainingSet, gateway: Gateway, asked: Iterable[Question], *, allow_unknown: bool) -> None:
    """Fill a training set with questions and the documents that answer them, as the platform calls them.

    Of a question that is asked twice the documents are put together.

    Raises:
        UnknownDocuments: the set names documents that the platform does not know, and that is not allowed.
    """
    asked = tuple(asked)
    catalogue = catalogue_of(gateway, ())
    relevant, _ = relevant_documents(asked, catalogue, allow_unknown=allow_unknown)
    joined: dict[str, tuple[str, set[str]]] = {}
    for question in asked:
        known = {each for each in relevant[question.id] if each in catalogue.titles}
        text, documents = joined.setdefault(" ".join(question.text.casefold().split()), (question.text, set()))
        documents |= known
    for text, documents in joined.values():
        if documents:
            message.queries.add(query=text, positives=[pb.Positive(document_id=each) for each in sorted(documents)])
