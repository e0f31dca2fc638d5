"""What an answer is worth: exact match and F1 of its words, its citations, its support, and when it abstains.

Exact match and F1 are SQuAD's (Rajpurkar et al. 2016, the official evaluation script), French articles as in
FQuAD (d'Hoffschmidt et al. 2020). Each measure gives a question's part of a ratio, (numerator, denominator), so
that a figure is the sum of the one over the sum of the other; a denominator of 0 says nothing about it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

# (numerator, denominator) of one question.
Part = tuple[float, float]

_ARTICLES = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "fr": re.compile(r"\b(?:le|la|les|l|du|des|au|aux|un|une)\b"),
}
_NONE = re.compile(r"(?!)")
_APOSTROPHES = re.compile("['\u2019]")
# Compares an answer with a right one, in a language.
Compared = Callable[[str, str, str], float]
SAYS_NOTHING: Part = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came: its text, documents of its citations in order, and how much of it is supported."""

    text: str
    cited: Sequence[str] = ()
    supported_sentences: float = 0.0
    sentences: int = 0
    abstained: bool = False


@dataclass(frozen=True, slots=True)
class Gold:
    """What a question's answer should have been. No answers or no documents: nothing is known of them."""

    answers: Sequence[str] = ()
    documents: Collection[str] = ()
    answerable: bool = True
    # ISO 639-1; "" strips the articles of every language.
    language: str = ""


def scores(answered: Answered, gold: Gold) -> dict[str, Part]:
    """Return a question's part of every measure, in the order in which they are shown."""
    return {
        "exact match": _of_answers(answered, gold, exact_match),
        "F1": _of_answers(answered, gold, f1),
        "contains": _of_answers(answered, gold, contains),
        "citation precision": citation_precision(answered, gold),
        "citation recall": citation_recall(answered, gold),
        "groundedness": groundedness(answered),
        **abstention(answered, gold),
    }


def normalised(text: str, language: str = "") -> list[str]:
    """Return the words that are compared: NFKC, lower case, without punctuation and articles."""
    lower = unicodedata.normalize("NFKC", text).lower()
    if language != "en":
        # An elided article is a word of its own: l'eau.
        lower = _APOSTROPHES.sub(" ", lower)
    bare = "".join(char for char in lower if unicodedata.category(char)[0] not in "PS")
    for articles in _ARTICLES.values() if not language else (_ARTICLES.get(language, _NONE),):
        bare = articles.sub(" ", bare)
    return bare.split()


def exact_match(answer: str, gold: str, language: str = "") -> float:
    """Return 1 where the words are the same."""
    return float(normalised(answer, language) == normalised(gold, language))


def f1(answer: str, gold: str, language: str = "") -> float:
    """Return the harmonic mean of the words' precision and recall."""
    given, wanted = normalised(answer, language), normalised(gold, language)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def contains(answer: str, gold: str, language: str = "") -> float:
    """Return 1 where the wanted words stand in the answer, one after the other."""
    given, wanted = normalised(answer, language), normalised(gold, language)
    starts = range(len(given) - len(wanted) + 1)
    return float(any(given[start : start + len(wanted)] == wanted for start in starts))


def citation_precision(answered: Answered, gold: Gold) -> Part:
    """Return how many of the citations sent are of a relevant document; of what has no answer none is."""
    if gold.answerable and not gold.documents:
        return SAYS_NOTHING
    relevant = gold.documents if gold.answerable else ()
    return float(sum(each in relevant for each in answered.cited)), float(len(answered.cited))


def citation_recall(answered: Answered, gold: Gold) -> Part:
    """Return how many of the relevant documents are cited, of a question that was answered."""
    if not gold.documents or not gold.answerable or answered.abstained:
        return SAYS_NOTHING
    return float(len(set(answered.cited) & set(gold.documents))), float(len(gold.documents))


def groundedness(answered: Answered) -> Part:
    """Return how many of the answer's sentences its passages support."""
    return answered.supported_sentences, float(answered.sentences)


def abstention(answered: Answered, gold: Gold) -> dict[str, Part]:
    """Return whether it was right to abstain: a true positive is an unanswerable question left unanswered."""
    hit = float(answered.abstained and not gold.answerable)
    claimed, due = float(answered.abstained), float(not gold.answerable)
    return {
        "abstention precision": (hit, claimed),
        "abstention recall": (hit, due),
        # 2TP / (2TP + FP + FN)
        "abstention F1": (2 * hit, claimed + due),
    }


def _of_answers(answered: Answered, gold: Gold, measure: Compared) -> Part:
    """Return the best value over the right answers; whoever abstains has none of them."""
    if not gold.answers or not gold.answerable:
        return SAYS_NOTHING
    if answered.abstained:
        return 0.0, 1.0
    return max(measure(answered.text, each, gold.language) for each in gold.answers), 1.0
