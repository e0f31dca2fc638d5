"""Takes personal data out of rows: Presidio's patterns, names that are known, and names that a model finds."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from presidio_analyzer import PatternRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
)

from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.rows import Row

LEAST_SCORE = 0.4
PERSON = "PERSON"
# Presidio knows telephone numbers by the countries that they are written in without a prefix.
REGIONS = ("FR", "BE", "CH", "DE", "AT", "GB", "IE", "ES", "IT", "US", "CA")
# A word in so many documents' titles is a product's or a company's name.
TITLES = 2
_NAME_LETTERS = 3
_NAME_WORDS = 2
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
_ANGLE = re.compile(r"<[^>]*>|\([^)]*\)")

# Says which people's names stand in a text of a language.
NameFinder = Callable[[str, str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class _Found:
    start: int
    end: int
    kind: str


class Patterns:
    """What has a form of its own: e-mail and IP addresses, telephone, card and account numbers."""

    def __init__(self) -> None:
        # Presidio's own recognizer of addresses fetches a list of domains, and knows no others.
        email = PatternRecognizer("EMAIL_ADDRESS", patterns=EmailRecognizer.PATTERNS)
        others = (CreditCardRecognizer(), IbanRecognizer(), PhoneRecognizer(supported_regions=REGIONS), IpRecognizer())
        self._recognizers = (email, *others)

    def __call__(self, text: str) -> Iterator[_Found]:
        """Yield what is found."""
        for recognizer in self._recognizers:
            for each in recognizer.analyze(text, recognizer.supported_entities, None):
                if each.score >= LEAST_SCORE:
                    yield _Found(each.start, each.end, each.entity_type)


class SpacyNames:
    """A NameFinder of spaCy models by language; what is not installed finds nothing."""

    def __init__(self, models: Mapping[str, str]) -> None:
        self._models = {language: loaded for language, name in models.items() if (loaded := _loaded(name))}

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages whose names are found."""
        return tuple(sorted(self._models))

    def __call__(self, text: str, language: str) -> Iterator[str]:
        """Yield the names of people that a model sees: those of several words, for single ones are often products."""
        model = self._models.get(language)
        for found in model(text).ents if model else ():
            if found.label_ in {"PER", PERSON} and _is_full_name(found.text):
                yield found.text


class PersonalData:
    """Puts "<KIND>" in the place of personal data; the same in question, passages and answers of a row."""

    def __init__(
        self, names: Iterable[str], not_personal: Iterable[str], finder: NameFinder, patterns: Patterns
    ) -> None:
        self._names = tuple(sorted({each for name in names for each in _forms_of(name)}, key=lambda each: -len(each)))
        self._not_personal = tuple(each.casefold() for each in not_personal)
        self._finder = finder
        self._found = lru_cache(maxsize=4096)(lambda text: tuple(patterns(text)))

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows without personal data."""
        tally, vocabulary = Tally("personal data"), _vocabulary(rows)
        known = _either(self._names)
        kept = []
        for row in rows:
            own = _either(chain.from_iterable(map(_forms_of, row.people)))
            seen = _either(sorted(self._seen(row, vocabulary), key=len, reverse=True))
            kept.append(row.mapped(partial(self._redacted, names=(known, own, seen), tally=tally)))
        return kept, tally.report(len(rows), len(kept))

    def _seen(self, row: Row, vocabulary: frozenset[str]) -> set[str]:
        texts = (
            row.question,
            *row.told,
            *(each.question for each in row.history),
            *(each.text for each in row.passages),
        )
        found = {name for text in texts for name in self._finder(text, row.language)}
        return {name for name in found if vocabulary.isdisjoint(word.casefold() for word in _WORD.findall(name))}

    def _redacted(self, text: str, names: Sequence[re.Pattern[str] | None], tally: Tally) -> str:
        found = list(self._found(text))
        for pattern in names:
            found += [_Found(*match.span(), PERSON) for match in pattern.finditer(text)] if pattern else []
        pieces, at = [], 0
        for each in sorted(found, key=lambda each: (each.start, -each.end)):
            if each.start < at or self._is_allowed(text[each.start : each.end]):
                continue
            tally.change(each.kind)
            pieces += [text[at : each.start], f"<{each.kind}>"]
            at = each.end
        return "".join([*pieces, text[at:]])

    def _is_allowed(self, found: str) -> bool:
        found = found.casefold()
        return any(found == each or (each.startswith("@") and found.endswith(each)) for each in self._not_personal)


def no_names(_text: str, _language: str) -> tuple[str, ...]:
    """Find none: a NameFinder where no model is."""
    return ()


def _loaded(name: str) -> Any:
    import spacy  # noqa: PLC0415 - slow, and not needed where no model is named

    if not spacy.util.is_package(name):
        return None
    return spacy.load(name, exclude=["parser", "tagger", "morphologizer", "lemmatizer", "attribute_ruler"])


def _forms_of(name: str) -> Iterator[str]:
    """Yield how a name may stand in a text: whole, and each of a principal's parts, such as "Ada" of "user:ada"."""
    kind, _, rest = name.partition(":")
    if rest and kind in {"user", "key", "group"}:
        if kind == "user":
            parts = re.split(r"[^\w]+|_|\d+", rest.partition("@")[0])
            yield from (part[:1].upper() + part[1:] for part in parts if len(part) >= _NAME_LETTERS)
        return
    # "Ada Lovelace <ada@example.com>", as mails name who wrote them.
    whole = " ".join(_ANGLE.sub(" ", name).replace('"', " ").split())
    if len(_capitalised(whole)) >= 1 and len(whole) >= _NAME_LETTERS and "@" not in whole:
        yield whole


def _either(names: Iterable[str]) -> re.Pattern[str] | None:
    # An empty choice would be found everywhere.
    written = "|".join(re.escape(name) for name in names)
    return re.compile(rf"(?<!\w)(?:{written})(?!\w)") if written else None


def _is_full_name(text: str) -> bool:
    """Return whether a text may be a person's whole name: no number of a part, and not of two lines."""
    return "\n" not in text and not re.search(r"\d", text) and len(_capitalised(text)) >= _NAME_WORDS


def _capitalised(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if word[:1].isupper()]


def _vocabulary(rows: Sequence[Row]) -> frozenset[str]:
    titles = {(each.document_id, each.title) for row in rows for each in row.passages}
    words = Counter(word for _, title in titles for word in {each.casefold() for each in _WORD.findall(title)})
    return frozenset(word for word, count in words.items() if count >= TITLES)
