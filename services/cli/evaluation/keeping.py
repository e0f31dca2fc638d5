"""Sets that are kept with the tenant: put, listed, measured and scheduled through the gateway."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.evaluation.catalogue import Catalogue, NoDocuments, relevant_documents
from services.cli.gateway import Gateway
from services.common.evaluation.questions import QuestionSet, jsonl_of

POLL_SECONDS = 0.5
WAITING = frozenset({pb.EVALUATION_STATE_QUEUED, pb.EVALUATION_STATE_RUNNING})


class EvaluationNotDone(Failure):
    """It failed, was cancelled, or took longer than was waited."""

    reason = "EVALUATION_NOT_DONE"


def keep(gateway: Gateway, name: str, asked: QuestionSet, catalogue: Catalogue) -> pb.QuestionSet:
    """Keep those questions of a set of which something is known: a document, an answer, or that there is none.

    Raises:
        UnknownDocuments, NoDocuments: it names documents that are not known here, or nothing is known of any question.
    """
    judged = [each for each in asked.questions if each.documents or each.answers or not each.answerable]
    if not judged:
        raise NoDocuments("no question of the set names a document that answers it, or has an answer")
    relevant, _ = relevant_documents(judged, catalogue, allow_unknown=False)
    lines = (jsonl_of(replace(question, documents=relevant[question.id])) for question in judged)
    request = pb.PutSetRequest(name=name, content=b"".join(lines))
    return gateway.call(gateway.evaluations.PutSet, request).set


def evaluate(gateway: Gateway, name: str, seconds: float, told: Callable[[pb.Evaluation], None]) -> pb.Evaluation:
    """Have a kept set evaluated, and return the evaluation once it is done.

    Raises:
        EvaluationNotDone: it ended without figures, or has not ended in so many seconds.
    """
    deadline = time.monotonic() + seconds
    found = gateway.call(gateway.evaluations.Evaluate, pb.EvaluateRequest(name=name)).evaluation
    while found.state in WAITING:
        told(found)
        if time.monotonic() > deadline:
            raise EvaluationNotDone(f"after {seconds:.0f} seconds it still goes on", evaluation=found.evaluation_id)
        time.sleep(POLL_SECONDS)
        request = pb.GetEvaluationRequest(evaluation_id=found.evaluation_id)
        found = gateway.call(gateway.evaluations.GetEvaluation, request).evaluation
    if found.state != pb.EVALUATION_STATE_DONE:
        why = found.failure or "CANCELLED"
        raise EvaluationNotDone(f"it ended without figures ({why})", evaluation=found.evaluation_id, failure=why)
    return found


def history(gateway: Gateway, name: str, limit: int) -> list[pb.Evaluation]:
    """Return at most `limit` evaluations of a kept set, newest first."""
    request = pb.ListEvaluationsRequest(name=name, page_size=min(limit, 500))
    pages = gateway.pages(gateway.evaluations.ListEvaluations, request)
    return list(islice((each for page in pages for each in page.evaluations), limit))
