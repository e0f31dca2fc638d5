"""Words and noun phrases of questions in English and French: enough of a grammar to find what a question is about."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DETERMINERS = _set(
    "the a an my your our his her its their this that these those some any each every "
    "le la les l' un une des du mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce cet cette ces"
)
LINKS = _set("of de du des d' &")
PREPOSITIONS = _set(
    "for in to on at with without from by about under over between before after during until since near inside outside "
    "pour en à a au aux avec sans dans sur sous chez vers depuis pendant avant après apres entre par contre"
)
PLACES = _set("in to at from near en à a au aux dans chez vers")
QUESTIONS = _set(
    "what who whom whose which where when why how quoi qui que quel quelle quels quelles lequel laquelle lesquels "
    "lesquelles où quand pourquoi comment combien qu' est-ce"
)
ASKED_FOR = _set("who which quel quelle quels quelles qui lequel laquelle")
AUXILIARIES = _set("do does did can could will would shall should may might must que")
BEINGS = _set(
    "is are was were be been being am has have had est sont était étaient sera seront a ont avait c'est "
    "isn't aren't doesn't don't can't won't est-ce-que"
)
PRONOUNS = _set(
    "i you he she it we they me him us them one ones there here everyone someone something anything "
    "je tu il elle on nous vous ils elles me te se lui y ça ca cela ceci celui celle ceux celles j' m' t' s' c' n'"
)
CONJUNCTIONS = _set("and or but so if because than as then et ou mais donc si car parce alors")
# Words that ask for more, or how sure it is, and say nothing of what.
EMPTY = _set(
    "not no yes ok okay please thanks well really sure exactly else more less further detail details example examples "
    "explain continue tell say mean means elaborate know like so too also again still just only much many long often "
    "far come show give happens else's same que'est "
    "pas ne non oui merci bien vraiment sûr exactement autre chose plus moins détail détails exemple exemples "
    "expliquer expliquez explique continuer continuez dis dites dire veut veux savoir aussi encore juste seulement "
    "donne donnez pareil idem même besoin vas va allez peux peut pouvez voulez s'il plaît stp svp"
)
FUNCTION = (
    DETERMINERS | LINKS | PREPOSITIONS | QUESTIONS | AUXILIARIES | BEINGS | PRONOUNS | CONJUNCTIONS | EMPTY
)  # fmt: skip
# A verb with its subject behind it: ouvre-t-il, peut-on.
_INVERTED = re.compile(r"-(?:t-)?(?:il|elle|ils|elles|on|je|tu|nous|vous|ce)$")
_CONTRACTED = re.compile(r"'(?:s|re|ll|d|ve|m)$")
_PARTICIPLE = re.compile(r"(?:ed|ing)$")

# An elided word is a word of its own; a hyphen, a dot or an apostrophe between letters is a part of one.
_TOKEN = re.compile(
    r"\b(?:[cdjlmnst]|qu|jusqu|lorsqu)'(?=\w)|[^\W_]+(?:[-.'][^\W_]+)*|[?!.,;:()]", re.IGNORECASE
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a mark of a text, [start, end); `low` is how it is looked up."""

    text: str
    low: str
    start: int
    end: int
    is_first: bool

    @property
    def is_mark(self) -> bool:
        return not self.text[0].isalnum()

    @property
    def is_content(self) -> bool:
        """Whether it carries what a sentence is about, or does there."""
        return not self.is_mark and self.low not in FUNCTION and not _INVERTED.search(self.low)

    @property
    def is_name(self) -> bool:
        """Whether it looks like a name, a number or an id."""
        if not self.is_content:
            return False
        return has_digit(self.text) or (self.text[0].isupper() and (not self.is_first or self.text[1:].isupper()))


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other; `start` leaves its determiner out, `whole_start` does not."""

    text: str
    start: int
    end: int
    whole: str
    whole_start: int
    before: str
    has_name: bool

    @property
    def is_led(self) -> bool:
        """Whether a determiner makes it a noun phrase beyond doubt."""
        return self.whole_start < self.start


def has_digit(text: str) -> bool:
    """Tell whether a text has a digit."""
    return any(map(str.isdigit, text))


def words_of(text: str) -> list[Word]:
    """Return the words and marks of `text`; the first of each sentence knows that it is."""
    found: list[Word] = []
    first = True
    for match in _TOKEN.finditer(text.replace("\u2019", "'")):
        low = match[0].lower()
        plain = _CONTRACTED.sub("", low)
        # "it's" and "what's" are looked up as "it" and "what".
        found.append(Word(match[0], plain if plain in FUNCTION else low, match.start(), match.end(), first))
        first = match[0] in "?!."
    return found


def phrases_of(text: str, words: Sequence[Word] | None = None) -> list[Phrase]:
    """Return the noun phrases of `text`, as well as rules without a dictionary can tell, in order."""
    words = words_of(text) if words is None else words
    return [_phrase(text, words, first, last) for first, last in _runs(words)]


def names_of(text: str) -> list[str]:
    """Return the names, numbers and ids in `text`, each once, in order; words of a name stay together."""
    words, names = words_of(text), []
    place = 0
    while place < len(words):
        end = place
        while end < len(words) and _continues_name(words, place, end):
            end += 1
        if end > place:
            names.append(text[words[place].start : words[end - 1].end])
        place = max(end, place + 1)
    return list(dict.fromkeys(names))


def _continues_name(words: Sequence[Word], begun: int, place: int) -> bool:
    word = words[place]
    if word.is_name:
        return True
    # The first word of a sentence is a name where a name follows it.
    starts = place == begun and word.is_first and word.is_content and word.text[0].isupper()
    return starts and place + 1 < len(words) and words[place + 1].is_name


def _runs(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield the first and last place of each run of content words, links between them included."""
    place = 0
    while place < len(words):
        if not words[place].is_content:
            place += 1
            continue
        last = place
        while (after := _next_content(words, last)) is not None:
            last = after
        yield place, _without_verb(words, place, last)
        place = last + 1


def _next_content(words: Sequence[Word], place: int) -> int | None:
    """Return the place of the content word that goes on from the one at `place`, over a link and its determiner."""
    after = place + 1
    if after < len(words) and words[after].low in LINKS:
        after += 1
        if after < len(words) and words[after].low in DETERMINERS:
            after += 1
    return after if after < len(words) and words[after].is_content else None


def _without_verb(words: Sequence[Word], first: int, last: int) -> int:
    """Return where a run ends without the verb that follows a subject: does the museum | open."""
    if first == last or words[last].is_name:
        return last
    head = first - 1 if first and words[first - 1].low in DETERMINERS else first
    before = words[head - 1].low if head else ""
    is_verb = before in AUXILIARIES or (before in BEINGS and _PARTICIPLE.search(words[last].low) is not None)
    return last - 1 if is_verb and words[last - 1].is_content else last


def _phrase(text: str, words: Sequence[Word], first: int, last: int) -> Phrase:
    head = first - 1 if first and words[first - 1].low in DETERMINERS else first
    start, end, whole_start = words[first].start, words[last].end, words[head].start
    return Phrase(
        text=text[start:end],
        start=start,
        end=end,
        whole=text[whole_start:end],
        whole_start=whole_start,
        before=words[head - 1].low if head else "",
        has_name=any(word.is_name for word in words[first : last + 1]),
    )
