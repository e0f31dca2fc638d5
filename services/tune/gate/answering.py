"""What an answer is worth, beside what it should have been."""

from services.common.evaluation.answers import Answered, Gold, scores
from services.common.grounding.abstention import says_nothing
from services.common.grounding.citations import Checked, Given, check
from services.common.grounding.sentences import without_markers
from services.tune.gate.contest import Contest
from services.tune.gate.measuring import Parts
from services.tune.gate.ports import GivenPassage, Prompt, Written


async def measured_answer(contest: Contest, kind: str, prompt: Prompt, gold: Gold) -> tuple[Parts, Parts] | None:
    """Return what the answers of live and candidate are worth, measures named after `kind`; None without a prompt."""
    both = await contest.both(lambda who: contest.write(who, prompt, contest.rules.answer_tokens))
    if both is None:
        return None
    live, candidate = (_named(kind, _parts(prompt, each, gold)) for each in both)
    return live, candidate


def _named(kind: str, parts: Parts) -> Parts:
    return {f"{kind} {measure}": part for measure, part in parts.items()}


def _parts(prompt: Prompt, written: Written, gold: Gold) -> Parts:
    shown = [prompt.passages[index] for index in written.passages if index < len(prompt.passages)]
    checked = Checked(
        check(written.text, [Given(each.text, each.context or each.title) for each in shown], prompt.question)
    )
    answered = Answered(
        text=without_markers(written.text),
        cited=[_cited(shown[span.passage_index], gold) for _, _, span in checked.cited()],
        supported_sentences=checked.supported,
        sentences=len(checked.verdicts),
        # As the gateway says it of an answer that nothing supports.
        abstained=not checked.supported and says_nothing(written.text),
    )
    return scores(answered, gold)


def _cited(passage: GivenPassage, gold: Gold) -> str:
    """Return the passage's document: of several in which it stands, one that was asked for."""
    return next((each for each in passage.documents if each in gold.documents), passage.documents[0])
