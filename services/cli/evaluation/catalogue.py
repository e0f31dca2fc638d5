"""Finds the documents that a set names among those that the platform knows."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from services.cli.errors import Failure
from services.common.evaluation.questions import Question

SHOWN = 3


class UnknownDocuments(Failure):
    """A set names documents that the platform does not know, or that several are called by."""

    reason = "UNKNOWN_DOCUMENTS"


class NoDocuments(Failure):
    """A set names no document, so that what is found cannot be judged."""

    reason = "NO_DOCUMENTS_IN_SET"


class Listed(Protocol):
    """A document as the manifest shows it."""

    document_id: str
    external_id: str
    title: str
    uri: str


class Catalogue:
    """The platform's documents by what people call them.

    A reference is a document's id, its id in the source, its address, the last part of either with or
    without its suffix, or its title; the first of these that names exactly one document wins.
    """

    def __init__(self, documents: Iterable[Listed]) -> None:
        self.titles: dict[str, str] = {}
        self._ways: tuple[dict[str, set[str]], ...] = ({}, {}, {}, {}, {}, {}, {})
        for document in documents:
            self.titles[document.document_id] = document.title or document.external_id
            for way, name in zip(self._ways, _names(document), strict=True):
                way.setdefault(name, set()).add(document.document_id)

    def document_id(self, reference: str) -> str | None:
        """Return whom `reference` names; None for nobody, or for several."""
        for way in self._ways:
            found = way.get(reference, set()) if reference else set()
            if len(found) == 1:
                return next(iter(found))
        return None


def _names(document: Listed) -> tuple[str, ...]:
    external, address = PurePosixPath(document.external_id), PurePosixPath(unquote(urlsplit(document.uri).path))
    return (
        document.document_id,
        document.external_id,
        document.uri,
        external.name,
        external.stem,
        address.stem,
        document.title,
    )


def relevant_documents(
    questions: Iterable[Question], catalogue: Catalogue, *, allow_unknown: bool
) -> tuple[dict[str, Mapping[str, int]], int]:
    """Return each question's documents with their grades by id, and how many references name no document.

    What is not known keeps its own name, so that it counts as not found.

    Raises:
        UnknownDocuments: a reference names no document, and that is not allowed; or none does.
    """
    relevant: dict[str, Mapping[str, int]] = {}
    unknown: dict[str, None] = {}
    known = 0
    for question in questions:
        grades: dict[str, int] = {}
        # Documents of a question without an answer are those that were taken away.
        for reference, grade in question.documents.items() if question.answerable else ():
            document_id = catalogue.document_id(reference)
            known += document_id is not None
            if document_id is None:
                unknown[reference] = None
            key = document_id or f"?{reference}"
            grades[key] = max(grade, grades.get(key, 0))
        relevant[question.id] = grades
    if unknown and (not allow_unknown or not known):
        raise _unknown(list(unknown))
    return relevant, len(unknown)


def _unknown(references: list[str]) -> UnknownDocuments:
    some = ", ".join(repr(each[:60]) for each in references[:SHOWN])
    return UnknownDocuments(
        f"{len(references)} of the documents that the set names are not known here, or not by one name alone: {some};"
        " --allow-unknown counts them as not found",
        count=len(references),
        first=references[:SHOWN],
    )
