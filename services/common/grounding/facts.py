"""Dates, quantities and names in a text: what must agree before one text supports another."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from services.common.grounding.words import NUMERALS, folded, number_of, words_of

_MONTHS = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
        "januar februar marz april mai juni juli august september oktober november dezember",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "jan feb mar apr may jun jul aug sep oct nov dec",
    )
    for number, name in enumerate(names.split(), 1)
} | {"sept": 9}
# Months are met folded, so that an accent or a capital makes no difference.
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_OF = r"(?:\.|,|\s|\bof\b|\bde\b|\bdel\b)*"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|er)?"
_YEAR = r"(?P<year>[12]\d{3})"
_DATES = (
    re.compile(r"\b(?P<year>[12]\d{3})-(?P<number>[01]?\d)-(?P<day>[0-3]?\d)\b"),
    re.compile(rf"\b{_DAY}{_OF}\b(?P<month>{_MONTH})\b(?:{_OF}\b{_YEAR}\b)?"),
    re.compile(rf"\b(?P<month>{_MONTH})\b\.?\s*(?:the\s+)?{_DAY}\b(?![.:]\d|\d)(?:{_OF}\b{_YEAR}\b)?"),
    re.compile(rf"\b(?P<month>{_MONTH})\b{_OF}\b{_YEAR}\b"),
)
_LEAP_YEAR = 2000

_UNITS = {
    word: unit
    for unit, words in {
        "km": "km kilometer kilometers kilometre kilometres kilometros chilometri",
        "m": "m meter meters metre metres metros metri",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "mi": "mi mile miles milles meilen",
        "ft": "ft foot feet",
        "yd": "yd yard yards",
        "in": "inch inches",
        "kg": "kg kilogram kilograms kilogramme kilogrammes kilo kilos",
        "g": "g gram grams gramme grammes gramm",
        "lb": "lb lbs pound pounds",
        "t": "ton tons tonne tonnes",
        "l": "l liter liters litre litres litros litri",
        "%": "% percent pourcent prozent",
        "$": "$ usd dollar dollars",
        "€": "€ eur euro euros",
        "£": "£ gbp",
        "s": "second seconds seconde secondes sekunden segundos secondi",
        "min": "min minute minutes minuten minutos minuti",
        "h": "h hour hours heure heures stunde stunden hora horas ora ore",
        "d": "day days jour jours tag tage tagen dia dias giorno giorni",
        "w": "week weeks semaine semaines woche wochen semana semanas settimana settimane",
        "mo": "month months monat monate monaten mes meses mese mesi",
        "y": "year years annee annees ans jahr jahre jahren ano anos anni",
        "gb": "gb gigabyte gigabytes go",
        "mb": "mb megabyte megabytes mo",
        "kw": "kw kilowatt kilowatts",
        "w.": "watt watts",
        "°c": "°c celsius",
        "°f": "°f fahrenheit",
    }.items()
    for word in words.split()
}
_MAGNITUDES = {
    **dict.fromkeys(("thousand", "mille", "tausend", "mil", "mila"), 3),
    **dict.fromkeys(("million", "millions", "millionen", "millon", "millones", "milione", "milioni"), 6),
    **dict.fromkeys(("billion", "billions", "milliard", "milliards", "milliarden", "miliardi"), 9),
}
_NUMBER = r"\d{1,3}(?:[,.'\u2019 \u00a0\u202f\u2009]\d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
_GREAT = re.compile(rf"(?<![a-z\d.,])(?P<number>{_NUMBER})[\s-]?(?P<magnitude>{'|'.join(_MAGNITUDES)})\b")
_NUMERAL = "|".join(sorted(NUMERALS, key=len, reverse=True))
_QUANTITY = re.compile(
    rf"(?P<before>[$€£])?\s?(?<![a-z\d.,])(?P<number>{_NUMBER}|(?:{_NUMERAL})\b)(?=(?:[\s-]?(?P<unit>[%$€£]|°?[a-z]+))?)"
)
_CAPITALISED = re.compile(r"[^\W\d_][\w'\u2019-]*")
_LEAST_ACRONYM = 2


@dataclass(frozen=True)
class Facts:
    """Dates as "2026-03-03", "2026-03" or "--03-03", quantities as (value, unit or ""), stems of names."""

    dates: frozenset[str]
    quantities: frozenset[tuple[str, str]]
    names: frozenset[str]

    @cached_property
    def date_parts(self) -> frozenset[str]:
        """Return the dates with what each contains: its month, its year, its day of the year."""
        return self.dates.union(*map(_parts_of, self.dates))

    @cached_property
    def units_of(self) -> dict[str, set[str]]:
        """Return the units in which each value is given; years of dates have none."""
        units: dict[str, set[str]] = {part: {""} for part in self.date_parts}
        for value, unit in self.quantities:
            units.setdefault(value, set()).add(unit)
        return units


def facts_of(text: str) -> tuple[Facts, str]:
    """Return the facts in `text`, and it folded, without its dates, and with its great numbers in digits."""
    plain, dates = _without_dates(folded(text))
    plain = _GREAT.sub(_written_out, plain)
    return Facts(frozenset(dates), frozenset(_quantities_of(plain)), _names_of(text)), plain


def numbers_agree(claim: Facts, *support: Facts) -> bool:
    """Tell whether each date and quantity of `claim` stands in `support`, in the same unit where both have one."""
    dates = frozenset[str]().union(*(facts.date_parts for facts in support))
    if not claim.dates <= dates:
        return False
    for value, unit in claim.quantities:
        units = set[str]().union(*(facts.units_of.get(value, ()) for facts in support))
        if not units or (unit and not units & {unit, ""}):
            return False
    return True


def _without_dates(text: str) -> tuple[str, list[str]]:
    dates = []

    def taken(match: re.Match[str]) -> str:
        found = _date_of(match)
        if not found:
            return match[0]
        dates.append(found)
        return " " * len(match[0])

    for pattern in _DATES:
        text = pattern.sub(taken, text)
    return text, dates


def _date_of(match: re.Match[str]) -> str:
    """Return the date as ISO 8601 has it; "" for one that is not in the calendar."""
    parts = match.groupdict()
    month = _MONTHS[parts["month"]] if parts.get("month") else int(parts["number"])
    year, day = parts.get("year"), int(parts.get("day") or 1)
    try:
        date(int(year or _LEAP_YEAR), month, day)
    except ValueError:
        return ""
    if not parts.get("day"):
        return f"{year}-{month:02}"
    return f"{year}-{month:02}-{day:02}" if year else f"--{month:02}-{day:02}"


def _parts_of(day: str) -> set[str]:
    if day.startswith("--"):
        return {day}
    year, _, rest = day.partition("-")
    month, _, number = rest.partition("-")
    return {day, year, f"{year}-{month}"} | ({f"--{month}-{number}"} if number else set())


def _quantities_of(text: str) -> Iterator[tuple[str, str]]:
    for match in _QUANTITY.finditer(text):
        number = match["number"]
        yield NUMERALS.get(number) or number_of(number), match["before"] or _UNITS.get(match["unit"] or "", "")


def _written_out(match: re.Match[str]) -> str:
    """Return "1.5 million" as 1500000."""
    value, zeros = number_of(match["number"]), _MAGNITUDES[match["magnitude"]]
    if value.count(".") > 1:
        return match[0]
    whole, _, rest = value.partition(".")
    moved = whole + rest[:zeros].ljust(zeros, "0")
    return moved + (f".{rest[zeros:]}" if rest[zeros:] else "")


def _names_of(text: str) -> frozenset[str]:
    """Return the stems of capitalised words after the first, and of acronyms; where all have capitals, none is one."""
    words = [match[0] for match in _CAPITALISED.finditer(text)]
    if all(word[0].isupper() for word in words) or text.isupper():
        return frozenset()
    names = [word for place, word in enumerate(words) if _is_acronym(word) or (place and word[0].isupper())]
    stems = words_of(" ".join(name for name in names if folded(name) not in _MONTHS))
    return frozenset(stem for stem in stems if stem[0].isalpha())


def _is_acronym(word: str) -> bool:
    return len(word) >= _LEAST_ACRONYM and word.isupper()
