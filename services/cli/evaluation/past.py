"""What people asked and thought of it before, as questions of a set."""

from collections.abc import Iterable
from itertools import islice

from tandem.feedback.v1 import events_pb2, feedback_service_pb2

from services.cli.errors import Failure
from services.cli.evaluation.asking import CONVERSATION_PREFIX
from services.cli.gateway import Gateway
from services.common.evaluation.questions import Question, QuestionSet

EXPORT_SECONDS = 600.0


class NoRatings(Failure):
    """Nobody has yet found an answer good whose documents are still shown."""

    reason = "NO_RATINGS"


def from_ratings(gateway: Gateway) -> QuestionSet:
    """Return the questions whose answers people found good: the documents cited are the relevant ones.

    A correction is what the answer should have been. What the caller may not read any more is left out.

    Raises:
        NoRatings: there is none.
    """
    request = feedback_service_pb2.ExportRatingsRequest()
    rows = gateway.stream(gateway.feedback.ExportRatings, request, EXPORT_SECONDS)
    good = (row for row in rows if row.rating.thumb == events_pb2.THUMB_UP and row.HasField("interaction"))
    questions = _distinct(
        question
        for row in good
        if not row.rating.withheld and (question := _question(row.interaction, row.rating.correction))
    )
    if not questions:
        raise NoRatings("no answer with a thumb up has citations that are still shown to you")
    return QuestionSet("past ratings", questions)


def asked(gateway: Gateway, count: int) -> tuple[Question, ...]:
    """Return at most `count` questions that people asked, the newest first, with the documents that were cited."""
    rpc, request = gateway.feedback.ListInteractions, feedback_service_pb2.ListInteractionsRequest()
    found = (each for page in gateway.pages(rpc, request) for each in page.interactions)
    return _distinct(islice((question for each in found if (question := _question(each))), count))


def _question(interaction: events_pb2.Interaction, correction: str = "") -> Question | None:
    cited = dict.fromkeys((passage.document_id for passage in interaction.passages if passage.cited), 1)
    of_people = not (interaction.overridden or interaction.conversation_id.startswith(CONVERSATION_PREFIX))
    if interaction.withheld or not interaction.question or not cited or not of_people:
        return None
    answers = (correction,) if correction else ()
    return Question(interaction.interaction_id, interaction.question, answers, cited)


def _distinct(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Return each text once, as it came first."""
    found: dict[str, Question] = {}
    for question in questions:
        found.setdefault(" ".join(question.text.split()).casefold(), question)
    return tuple(found.values())
