"""Follow-ups made to stand alone: what a question leaves to its conversation is put in, by rule (ADR 35)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.domain.phrases import (
    ASKED_FOR,
    AUXILIARIES,
    BEINGS,
    CONJUNCTIONS,
    DETERMINERS,
    PLACES,
    PREPOSITIONS,
    QUESTIONS,
    Phrase,
    Word,
    has_digit,
    names_of,
    phrases_of,
    words_of,
)

# What is longer says itself what it is about.
LONGEST_FOLLOW_UP = 300
# Of an earlier question or answer no more is read.
READ_CHARS = 1000
MOST_TERMS = 4
MOST_FRAGMENT_WORDS = 7

_SUBJECTS = frozenset("it they he she il elle ils elles".split())  # noqa: SIM905 - words, not a list of strings
_PERSONS = frozenset({"he", "she", "him"})
_OBJECTS = frozenset("them him ça ca cela ceci celui celle ceux celles lui".split())  # noqa: SIM905
_OWNERS = frozenset("its their his son sa ses leur leurs".split())  # noqa: SIM905
_DEMONSTRATIVES = frozenset({"this", "that", "these", "those"})
# They are replaced where they stand; the others would leave a sentence that is none.
_REPLACED = frozenset({"it", "they", "them", "he", "she", "him"})
_OF_SOMETHING = frozenset({"", "for", "with", "about", "pour", "avec"})
_LEADS = CONJUNCTIONS | {"also", "aussi"}
_SHORT_LEAD = re.compile(
    r"(?:and |so |but )?(?:what|how) about\b|(?:same|likewise) (?:for|with)\b|(?:et |mais )?(?:qu'en est-il|quid)\b"
    r"|(?:et )?pareil pour\b|(?:et )?même (?:chose|question) (?:pour|avec)\b",
    re.IGNORECASE,
)
_EXPLETIVE = re.compile(
    r"\b(?:is|was|be|it's|it is) (?:it )?(?:possible|true|necessary|allowed|ok|okay|safe|legal|better|worth|important"
    r"|normal|time|mandatory|required)\b|\b(?:does|will|did|would) it (?:take|cost) [^?]{0,60}?\bto\b|\bit takes\b"
    r"|\b(?:y a-t-il|il y a|il faut|faut-il|est-il (?:possible|vrai|obligatoire|permis|nécessaire)"
    r"|il est (?:possible|vrai|obligatoire|permis|nécessaire)|s'il (?:vous|te) pla[iî]t|s'agit-il|il s'agit)\b",
    re.IGNORECASE,
)
_ALL_OF_IT = re.compile(r"\bit takes?\b(?! [^?]{0,60}?\bto\b)|\bça prend\b", re.IGNORECASE)
_THERE = re.compile(
    r"\b(?:is|are|was|were|will|there's)\s+there\b|\bthere(?:'s| is| are| was| were| will)\b", re.IGNORECASE
)
_WHO = re.compile(r"who\b|qui\b", re.IGNORECASE)
_TIMES = frozenset("year month week morning evening summer winter time way".split())  # noqa: SIM905
_ONE_OF_THEM = re.compile(
    r"\b(?:that|this|which|the (?:other|first|second|third|last|\w{2,12})|another) ones?\b|\bwhich (?:is|are|of)\b"
    r"|\bthe (?:latter|former|same)\b|\b(?:lequel|laquelle|lesquels|lesquelles)\b|\b(?:celui|celle|ceux|celles)\b"
    r"|\bla même chose\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\b(?:cheaper|bigger|smaller|faster|slower|better|worse|longer|shorter|heavier|lighter|newer|older)\b"
    r"|\b(?:plus|moins) (?:chère?s?|grande?s?|petite?s?|rapides?|longue?s?|courte?s?|lourde?s?|l[ée]g[eè]re?s?)\b"
    r"|\bmeilleure?s?\b",
    re.IGNORECASE,
)
_THAN = re.compile(r"\b(?:than|or)\b|\bqu(?:e\b|')|\bou\b", re.IGNORECASE)
_FRENCH_OBJECT = re.compile(
    r"\b(?:comment|où|peut-on|puis-je|dois-je|faut-il|pour|de|à) (?:le |la |les |l'|en |y )[^\W\d_]+(?:er|ir|re)\b",
    re.IGNORECASE,
)
_FRENCH_Y = re.compile(r"\b(?:y|en) (?!a\b|a-t-il\b)[^\W\d_]+-(?:t-)?(?:on|il|elle|je|vous)\b|\bc'est\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """An earlier turn: what was asked, standing alone, and what of the answer is known to be so."""

    question: str
    answer: str = ""


def standalone(question: str, said: Sequence[Said]) -> str:
    """Return `question` with what it leaves to the last of the turns before it; as it is where it stands alone.

    What only begins a new topic is left alone: the old one would be searched for too.
    """
    if not said or len(question) > LONGEST_FOLLOW_UP:
        return question
    last = Said(said[-1].question[:READ_CHARS], said[-1].answer[:READ_CHARS])
    words = words_of(question)
    if fragment := _fragment(question, words):
        return _in_place_of(fragment, question, last)
    if terms := _left_out(question, words, last):
        return _with_terms(question, terms)
    pronoun = _open_pronoun(question, words)
    return question if pronoun is None else _resolved(question, pronoun, last)


def adds_nothing(rewritten: str, question: str, said: Sequence[Said]) -> bool:
    """Tell whether every name and number of a rewritten question stands in the conversation that it was made from."""
    told = " ".join([question, *(f"{turn.question[:READ_CHARS]} {turn.answer[:READ_CHARS]}" for turn in said)])
    known = {word.low for word in words_of(told)}
    added = [word for word in words_of(rewritten) if word.is_content and word.low not in known]
    return not any(word.is_name or word.text[0].isupper() for word in added)


def _left_out(question: str, words: Sequence[Word], last: Said) -> Sequence[str]:
    """Return the terms that a question leaves out, where it does so without a pronoun that could be replaced."""
    if _ALL_OF_IT.search(question) or not any(word.is_content for word in words):
        return _subjects(last)
    if _ONE_OF_THEM.search(question) or (_COMPARED.search(question) and not _THAN.search(question)):
        return [*names_of(last.question), *names_of(last.answer)] or _subjects(last)
    if _FRENCH_OBJECT.search(question) or (_FRENCH_Y.search(question) and not _nouns(question)):
        return _topics(last)
    return ()


def _fragment(question: str, words: Sequence[Word]) -> str:
    """Return what an elliptic question puts in place of something: the Duo, of "And for the Duo?"; or ""."""
    if lead := _SHORT_LEAD.match(question):
        return question[lead.end() :].strip(" ?!.,")
    spoken = [word for word in words if not word.is_mark]
    led = bool(spoken) and spoken[0].low in _LEADS
    rest = spoken[1:] if led else spoken
    if not rest or len(rest) > MOST_FRAGMENT_WORDS or _is_clause(rest):
        return ""
    begins = rest[0].low in PREPOSITIONS or (rest[0].low in DETERMINERS and len(rest) <= MOST_FRAGMENT_WORDS // 2)
    if not led and not (begins and question.rstrip().endswith("?")):
        return ""
    return question[rest[0].start : rest[-1].end] if any(word.is_content for word in rest) else ""


def _is_clause(words: Sequence[Word]) -> bool:
    """Tell whether words ask by themselves: with a question's word or a verb that we know."""
    # "a" is an article in English.
    heads = (QUESTIONS | AUXILIARIES | BEINGS | _SUBJECTS) - {"a"}
    return any(word.low in heads or word.low.endswith("-il") for word in words)


def _in_place_of(fragment: str, question: str, last: Said) -> str:
    """Return the last question about something else: what has the same preposition, or the one name, gives way."""
    words = words_of(fragment)
    if words and words[0].low in _OWNERS:
        return _with_terms(question, _topics(last))
    place = words[0].low if words and words[0].low in PREPOSITIONS else ""
    phrases = phrases_of(last.question)
    for phrase in phrases if place else ():
        if phrase.before == place:
            start = last.question.lower().rfind(place, 0, phrase.whole_start)
            return last.question[:start] + fragment + last.question[phrase.end :]
    return _renamed(fragment, place, question, last)


def _renamed(fragment: str, place: str, question: str, last: Said) -> str:
    new, old = names_of(f". {fragment}" if not place else fragment), names_of(last.question)
    if not (new or _is_named(fragment)):
        return _with_terms(question, old or _subjects(last))
    name = (new or [_bare(fragment)])[0]
    # A number takes the place of a number; a time or a place that was not asked for takes nobody's.
    if len(old) == 1 and place in _OF_SOMETHING and has_digit(name) == has_digit(old[0]):
        return last.question.replace(old[0], name, 1)
    plain = [phrase.text for phrase in phrases_of(last.question) if not phrase.has_name]
    return _with_terms(question, plain if place in _OF_SOMETHING and plain else _subjects(last))


def _is_named(fragment: str) -> bool:
    words = [word for word in words_of(fragment) if word.is_content]
    return bool(words) and all(word.text[0].isupper() for word in words)


def _bare(fragment: str) -> str:
    words = words_of(fragment)
    kept = [word for word in words if word.is_content]
    return fragment[kept[0].start : kept[-1].end]


def _open_pronoun(question: str, words: Sequence[Word]) -> Word | None:
    """Return the first word that stands for something which the question itself does not name."""
    without = _EXPLETIVE.search(question) is not None
    for place, word in enumerate(words):
        if _stands_for(words, place, question, expletive=without) and not _answered_inside(question, words, place):
            return word
    return None


def _stands_for(words: Sequence[Word], place: int, question: str, *, expletive: bool) -> bool:
    word = words[place]
    after = words[place + 1] if place + 1 < len(words) else None
    if word.low in _SUBJECTS:
        return not expletive
    if word.low == "there":
        return _THERE.search(question) is None
    if word.low in _DEMONSTRATIVES:
        return _points_back(words, place)
    if word.low in {"her", "leur"} | _OWNERS:
        return True
    if word.low[-3:] in {"-il", "lle", "ils", "les"} and "-" in word.low:
        return not expletive and re.search(r"-(?:t-)?(?:ils?|elles?)$", word.low) is not None
    return word.low in _OBJECTS and (word.low != "lui" or after is not None)


def _points_back(words: Sequence[Word], place: int) -> bool:
    """Tell whether this, that, these or those point at something said before, and join no clause."""
    word = words[place]
    after = words[place + 1] if place + 1 < len(words) else None
    if after is not None and after.low in _TIMES:
        return False
    if word.low != "that":
        return True
    before = words[place - 1].low if place else ""
    return not before or before in AUXILIARIES | BEINGS | PREPOSITIONS | {"about", "of"}


def _answered_inside(question: str, words: Sequence[Word], place: int) -> bool:
    """Tell whether the question names, before the pronoun, what that stands for.

    An owner or an inverted French subject may stand for whatever precedes it, others only for what another
    clause names: "does the warranty cover it" leaves open what "if the box is lost, where is it" does not.
    """
    word = words[place]
    before = [phrase for phrase in phrases_of(question, words) if phrase.end <= word.start]
    named = [phrase for phrase in before if phrase.is_led or phrase.has_name]
    if word.low in _OWNERS | {"her"} or "-" in word.low:
        # "Acme livre-t-il": what stands before such a verb is its subject, whatever it looks like.
        return bool(named) or (bool(before) and any("-" in verb.low for verb in words[: place + 1]))
    ends = [mark.start for mark in words[:place] if mark.low in CONJUNCTIONS or mark.text in {",", ";", "."}]
    if not named or not ends:
        return False
    return any(phrase.end <= ends[-1] for phrase in named) or words[0].low in CONJUNCTIONS


def _resolved(question: str, pronoun: Word, last: Said) -> str:
    meant = _meant(pronoun, last)
    if not meant:
        return question
    if pronoun.low not in _REPLACED:
        return _with_terms(question, [meant])
    rest = question[pronoun.start + len(pronoun.low) :]
    return question[: pronoun.start] + (meant[0].upper() + meant[1:] if pronoun.is_first else meant) + rest


def _meant(pronoun: Word, last: Said) -> str:
    """Return what a pronoun stands for, by the last turn; "" where nothing can be meant."""
    if pronoun.low in _PERSONS or pronoun.low in {"his", "her"}:
        people = _people(last)
        others = [name for name in (*names_of(last.question), *names_of(last.answer)) if not has_digit(name)]
        return next(iter([*people, *others]), "")
    if pronoun.low == "there":
        own = phrases_of(last.question)
        both = own if any(phrase.has_name for phrase in own) else [*own, *phrases_of(last.answer)]
        if places := [phrase.text for phrase in both if phrase.before in PLACES and phrase.has_name]:
            return places[0]
    return next(iter(_topics(last)), "")


def _topics(last: Said) -> list[str]:
    """Return what the last turn is about: what the question names, or the answer where that was asked for."""
    phrases = phrases_of(last.question)
    named = [phrase for phrase in phrases if phrase.has_name]
    if _WHO.match(last.question) and (people := _people(last)):
        return people[:1]
    asks_which = any(word.low in ASKED_FOR for word in words_of(last.question)[:3])
    if not named and (asks_which or not phrases) and (names := names_of(last.answer)):
        return names[:1]
    best = named or [phrase for phrase in phrases if phrase.is_led] or phrases[-1:]
    return [_shown(phrase) for phrase in best[:1]]


def _people(last: Said) -> list[str]:
    """Return the names of several words that the answer brought."""
    return [name for name in names_of(last.answer) if " " in name and name not in last.question]


def _shown(phrase: Phrase) -> str:
    # "its price" and "this one" would say no more than the pronoun does.
    lead = phrase.whole[: phrase.start - phrase.whole_start].strip().lower()
    return phrase.whole if lead in {"the", "le", "la", "les", "l'"} else phrase.text


def _subjects(last: Said) -> list[str]:
    return [phrase.text for phrase in phrases_of(last.question)]


def _nouns(question: str) -> bool:
    return any(phrase.is_led or phrase.has_name for phrase in phrases_of(question))


def _with_terms(question: str, terms: Sequence[str]) -> str:
    """Return `question` with what it is about behind it."""
    known = question.lower()
    new = [term for term in dict.fromkeys(terms) if term.lower() not in known][:MOST_TERMS]
    return f"{question} ({', '.join(new)})" if new else question
