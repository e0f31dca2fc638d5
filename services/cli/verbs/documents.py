"""document …: what is known of each document, and who may read it."""

from itertools import islice
from typing import Annotated

import typer
from tandem.ingest.v1 import ingest_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.records import Limit
from services.cli.views import sources as views
from services.cli.views.tables import counted


class UnknownDocument(Failure):
    """The source does not have a document."""

    reason = "DOCUMENT_NOT_FOUND"


def list_documents(
    session: Session,
    source: Annotated[str, typer.Option(help="Only of this source, by name or id.")] = "",
    limit: Limit = 50,
) -> None:
    """List documents with their state, their owner and their readers."""
    request = pb.ListDocumentsRequest(source=source, page_size=min(limit, 500))
    pages = session.gateway.pages(session.gateway.sources.ListDocuments, request)
    found = list(islice((document for page in pages for document in page.documents), limit))
    session.output.show({"documents": list(map(plain, found))}, lambda: views.documents_table(found))


def readers(
    session: Session,
    source: Annotated[str, typer.Argument(help="The source's name or id.")],
    external_id: Annotated[str, typer.Argument(metavar="DOCUMENT", help="The document's id in the source.")],
    readers: Annotated[
        list[str] | None,
        typer.Option("--readers", help="user:ID, group:ID or everyone; may be given again. None: as its source."),
    ] = None,
) -> None:
    """Change who may read a pushed document."""
    document = pb.DocumentReaders(external_id=external_id, readers=readers or ())
    request = pb.SetDocumentReadersRequest(source=source, documents=[document])
    answer = session.gateway.call(session.gateway.sources.SetDocumentReaders, request)
    if answer.unknown_external_ids:
        raise UnknownDocument(f"source {source} has no document {external_id}", source=source, external_id=external_id)
    session.output.show(plain(answer), lambda: f"{counted(answer.changed, 'document')} changed")
