"""The tenant's golden set: questions whose answers are known, answered from what the run's caller finds."""

from services.common.evaluation.answers import Gold
from services.common.evaluation.questions import Question
from services.tune.domain.gate_rules import GOLDEN
from services.tune.gate.answering import measured_answer
from services.tune.gate.contest import Contest, drawn
from services.tune.gate.measuring import Item
from services.tune.gate.ports import GoldenPassages, Prompt

STAGE = "answering the golden set"


async def measured(contest: Contest, search: GoldenPassages, questions: tuple[Question, ...]) -> list[Item]:
    """Return how both answer the questions from the same passages."""

    async def answered(question: Question) -> Item | None:
        passages = await search.passages(contest.identity, question.text, contest.rules.passages)
        prompt = Prompt(question.text, passages=passages, restricted=True, language=question.language)
        gold = Gold(question.answers, frozenset(question.documents), question.answerable, question.language)
        both = await measured_answer(contest, GOLDEN, prompt, gold)
        return Item(GOLDEN, question.id, *both) if both else None

    chosen = drawn(questions, lambda each: each.id, contest.rules.items.golden)
    return [item for item in await contest.each(STAGE, chosen, answered) if item]
