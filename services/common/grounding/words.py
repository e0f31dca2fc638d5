"""Content words of any script, so that an answer can be held against a passage."""

import re
import unicodedata
from functools import lru_cache

NEGATION = "¬"  # stands for every word of negation, so that sentences can be held against each other

# Small on purpose: words of English, French, German, Spanish and Italian, folded, that carry no fact of their own,
# without those that do in another of these languages, such as "car" and "war".
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be been being but by can could did do does doing during each for
    from further had has have having he her here hers him his how i if in into is it its just may me might more most
    must my of off on once only or other our out over own per please same shall she should so some such than that the
    their them then there these they this those through to too under until up us very was we were what when where
    which while who whom why will with within would you your yours
    au aussi aux avec avoir ce ceci cela ces cet cette ceux chez comme dans de des donc dont du elle elles en est
    et etaient etait ete etes etre eu fait faire il ils je la le les leur leurs lors lui ma mais me mes moi mon ne nos
    notre nous on ont ou par pas plus pour que quel quelle quels qui sa sans se sera seront ses si son sont sous sur ta
    te tes toi ton tous tout toute toutes tres tu un une vos votre vous y
    aber als am auch auf aus bei dass dem den der diese dieser dieses du ein eine einem einen einer eines er es fur
    haben hatte ich ihr im ist kann mit nach noch nur oder sehr sich sie sind uber und viel vom von wann warum welche
    welcher welches wenn wer werden wie wieviel wird wir wo wurde wurden zum zur al como con cual cuales cuando cuanta
    cuantas cuanto cuantos del donde el eran esta estan este estos fue ha han las lo los mas muy o para por quien ser
    su sus una unas unos ai alla chi cosa da dai dal dalla degli dei della delle di dove e ed erano gli hanno il nel
    nella nelle quale quali quando quanta quante quanti quanto sono stato sua suo suoi uno
    """.split()  # noqa: SIM905 - forty lines of quotes would say no more
)
# Without "mai" and "sin", which are a month and a word of their own elsewhere.
_NEGATIONS = frozenset(
    """
    no not never none neither nor cannot without pas jamais aucun aucune non ni sans nicht kein keine keinem keinen
    keiner nie ohne nunca senza nessun nessuna
    """.split()  # noqa: SIM905 - as above
)

# Without "one" and its like, which are articles and pronouns, and without "neuf", which is new, too.
NUMERALS = {
    word: str(number)
    for words in (
        "two three four five six seven eight nine ten eleven twelve",
        "- third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
        "deux trois quatre cinq six sept huit - dix onze douze",
        "zwei drei vier funf sechs sieben acht neun zehn elf zwolf",
        "dos tres cuatro cinco seis siete ocho nueve diez once doce",
        "due tre quattro cinque sei sette otto nove dieci undici dodici",
    )
    for number, word in enumerate(words.split(), 2)
    if word not in {"-", "due", "sei", "once"}  # words of other languages
}

_GROUPING = ",.'\u2019 \u00a0\u202f\u2009"
_TOKEN = re.compile(
    rf"[^\W\d_]+(?:['\u2019]t\b)?|(?<!\d)\d{{1,3}}(?:[{_GROUPING}]\d{{3}}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
)
_GROUP = re.compile(rf"[{_GROUPING}](?=\d{{3}}(?!\d))")

# Written without spaces, or with endings joined on: looked for as pairs of characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff]+"
)

_ENDINGS = (
    "ments",
    "ment",
    "ables",
    "able",
    "ings",
    "ing",
    "ies",
    "ees",
    "ed",
    "ee",
    "er",
    "es",
    "ly",
    "s",
    "x",
    "e",
    "y",
)
_LEAST_STEM = 3


def words_of(text: str) -> frozenset[str]:
    """Return the stems and numbers of `text`, and NEGATION where it has one."""
    return frozenset().union(*map(_content_of, _TOKEN.findall(folded(text))))


def folded(text: str) -> str:
    """Return `text` in lower case, without accents, with ASCII digits; it may be longer or shorter."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def number_of(token: str) -> str:
    """Return a number's one form: "1,000" and "1 000" are 1000, "1,5" is 1.5."""
    return _GROUP.sub("", token).replace(",", ".")


class _Folding(dict[int, str]):
    """A table for str.translate: lower case, no accents, digits as ASCII; it grows by the characters met."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


_FOLDING = _Folding()


def _fold(char: str) -> str:
    if _UNSPACED.match(char):
        return char
    if char.isdigit():
        return str(unicodedata.digit(char))
    decomposed = unicodedata.normalize("NFKD", char.casefold())
    return "".join(part for part in decomposed if not unicodedata.combining(part))


# The same few words come again in every passage; a pure function's answers may be kept.
@lru_cache(maxsize=65536)
def _content_of(token: str) -> tuple[str, ...]:
    """Return what is compared of a token: a number, stems, NEGATION, or nothing of a stop word."""
    if token[0].isdigit():
        return (number_of(token),)
    if token in NUMERALS:
        return (NUMERALS[token],)
    if token in _NEGATIONS or token.endswith(("n't", "n\u2019t")):
        return (NEGATION,)
    if token in _STOP_WORDS:
        return ()
    if not _UNSPACED.search(token):
        return (_stem(token),)
    pairs = [run[i : i + 2] for run in _UNSPACED.findall(token) for i in range(max(1, len(run) - 1))]
    return (*pairs, *(_stem(word) for word in _UNSPACED.split(token) if word))


def _stem(word: str) -> str:
    """Return `word` without the endings that English and French put on one word."""
    for ending in _ENDINGS * 2:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            word = word.removesuffix(ending)
    return word[:-1] if len(word) > _LEAST_STEM and word[-1] == word[-2] else word
