"""When there is no answer in the passages, and how that is said."""

import re
from dataclasses import dataclass
from enum import StrEnum

from services.common.grounding.citations import Checked
from services.common.grounding.evidence import Evidence
from services.common.grounding.words import folded

NEAREST = 3

_TEXTS = {
    "en": ("I don't find an answer to this in the documents.", "These sources come nearest."),
    "fr": ("Je ne trouve pas la réponse dans les documents.", "Voici les sources les plus proches."),
    "de": ("Darauf finde ich in den Dokumenten keine Antwort.", "Diese Quellen kommen ihr am nächsten."),
    "es": ("No encuentro la respuesta en los documentos.", "Estas son las fuentes más cercanas."),
    "it": ("Non trovo la risposta nei documenti.", "Queste sono le fonti più vicine."),
}
# What a model says, folded, that found nothing: it is looked for at the beginning of its answer.
_TELLS_NOTHING = re.compile(
    r"\b(?:"
    r"(?:the |these |this )?(?:given |provided )?(?:passages?|documents?|texts?|context|information|sources?)"
    r" (?:provided |given )?(?:do|does|did)(?: not|n['\u2019]t)"
    r" (?:tell|say|mention|contain|provide|include|specify|state|answer)"
    r"|(?:is|are|was|were)(?: not|n['\u2019]t) (?:mentioned|stated|specified|given|provided|found)"
    r" (?:in|by) (?:the |these |this )?(?:given |provided )?(?:passages?|documents?|texts?|context|sources?)"
    r"|i (?:do not|don['\u2019]t|cannot|can['\u2019]t) (?:know|find|answer)"
    r"|there is no (?:information|answer|mention)"
    r"|(?:les |ces )?(?:passages|documents|textes) ne (?:disent|mentionnent|precisent|contiennent|donnent|permettent)"
    r"|je ne (?:sais|trouve|peux) pas"
    r"|(?:die |diese )?(?:passagen|dokumente|texte) (?:sagen|nennen|enthalten|erwahnen|geben)\b"
    r".{0,40}\b(?:nicht|keine[nr]?|nichts)"
    r"|ich (?:weiss|finde)\b.{0,20}\b(?:nicht|keine)"
    r"|finde ich\b.{0,40}\b(?:nicht|keine)"
    r"|(?:los |estos )?(?:pasajes|documentos|textos) no (?:dicen|mencionan|contienen|indican)"
    r"|no (?:lo se\b|encuentro|se menciona)"
    r"|(?:i |questi )?(?:passaggi|documenti|testi) non (?:dicono|menzionano|contengono|indicano)"
    r"|non (?:lo so\b|trovo)"
    r")"
)
_BEGINNING = 160


class AbstentionReason(StrEnum):
    """Why there is no answer."""

    NO_PASSAGES = "NO_PASSAGES"
    LITTLE_EVIDENCE = "LITTLE_EVIDENCE"
    UNSUPPORTED = "UNSUPPORTED"
    MODEL = "MODEL"


@dataclass(frozen=True, slots=True)
class Abstention:
    """That there is no answer; `late` where the model's own text was sent before that was known."""

    reason: AbstentionReason
    evidence: Evidence
    late: bool = False

    @property
    def nearest(self) -> tuple[int, ...]:
        """Return the passages to offer instead, best first."""
        return self.evidence.nearest[:NEAREST]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Evidence under which a question is not answered, and under which an answer needs support; 0 and 0 are never."""

    below: float
    unsupported_below: float

    def before(self, evidence: Evidence) -> Abstention | None:
        """Return why the model need not be asked, if so."""
        if evidence.score >= self.below:
            return None
        reason = AbstentionReason.LITTLE_EVIDENCE if evidence.nearest else AbstentionReason.NO_PASSAGES
        return Abstention(reason, evidence)

    def after(self, evidence: Evidence, checked: Checked, answer: str) -> Abstention | None:
        """Return why the answer is none, if so."""
        if checked.supported or not self.unsupported_below:
            return None
        if says_nothing(answer):
            return Abstention(AbstentionReason.MODEL, evidence, late=True)
        if checked.verdicts and evidence.score < self.unsupported_below:
            return Abstention(AbstentionReason.UNSUPPORTED, evidence, late=True)
        return None


NEVER = Thresholds(0.0, 0.0)


def says_nothing(answer: str) -> bool:
    """Tell whether an answer begins by saying that the passages do not tell."""
    return _TELLS_NOTHING.search(" ".join(folded(answer[:_BEGINNING]).split())) is not None


def text_of(language: str, *, offers: bool) -> str:
    """Return what the caller is told, in English where `language` (ISO 639-1) is another than we write."""
    told, nearest = _TEXTS.get(language, _TEXTS["en"])
    return f"{told} {nearest}" if offers else told
