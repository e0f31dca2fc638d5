"""Tells which texts look as if they would give a model orders; they are marked, not refused.

Every repeat in the patterns is bounded and none holds another, so that no text makes them slow.
"""

import re
from collections.abc import Callable, Iterator

ROLE_MARKUP = "role-markup"
OVERRIDE = "override"
TOOL_MARKUP = "tool-markup"
EXFILTRATION = "exfiltration"
HIDDEN_TEXT = "hidden-text"

_ROLES = re.compile(
    r"<\|(?:im_start|im_end|im_sep|system|user|assistant|endoftext|eot_id|begin_of_text|start_header_id|end_header_id)\|>"
    r"|(?<![a-z0-9_])\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|<system[_-]prompt>"
    r"|(?:^|\n) {0,3}#{1,6} {0,3}(?:system|assistant|instructions?|human|user) {0,3}:"
)
_TOOLS = re.compile(
    r"</?tool_(?:call|response)|<function=|<function_calls>|<invoke name=|\[/?tool_calls\]|<\|(?:python_tag|tool)"
    r"|\"(?:tool_calls|function_call)\"\s{0,9}:"
)

# An order begins its sentence or paragraph; a text about orders ("tells the model to ignore …") does not.
_ORDER = r"(?:^|\n|[.!?:;,>*\"'“„«(\]-] ?|\b(?:please|now|then|and|must|should|so|veuillez|bitte) )"
_OVERRIDES = tuple(
    re.compile(_ORDER + pattern)
    for pattern in (
        # English
        (
            r"(?:ignore|disregard|forget|override|bypass)\b[^.!?]{0,30}"
            r"\b(?:previous|prior|above|preceding|earlier|system|your)\b"
            r"[^.!?]{0,20}\b(?:instruction|prompt|rule|direction|guideline|command|training)"
        ),
        (
            r"(?:ignore|disregard|forget) (?:all|everything|anything|what is|the text)? ?(?:of )?(?:the |written )?"
            r"(?:above|previous)(?: text| content)?(?: and\b|[.,;:!]|$)"
        ),
        r"(?:ignore|disregard|forget) (?:all|any)(?: of)?(?: the| your| other)? (?:instruction|rule|guideline)",
        r"you are now (?:in )?(?:dan\b|developer mode|(?:an? )?(?:unrestricted|uncensored|jailbroken))",
        r"new (?:system )?instructions? ?:",
        # French
        (
            r"(?:ignore[zrs]?|oublie[zrs]?|ne (?:tiens|tenez) (?:pas|plus) compte|fai(?:s|tes) abstraction)"
            r"\b[^.!?]{0,30}"
            r"\b(?:instructions?|consignes?|directives?|règles?|ordres?)\b[^.!?]{0,15}"
            r"\b(?:précédent|ci-dessus|antérieur|du système|système)"
        ),
        # German
        (
            r"(?:ignorier(?:e|t|en sie)|vergiss|vergessen sie|missachte(?:n sie)?|umgehe(?:n sie)?)\b[^.!?]{0,30}"
            r"\b(?:vorherig|vorig|obig|bisherig|vorangegangen|vorangehend|früher|system)[^.!?]{0,15}"
            r"(?:anweisung|instruktion|vorgabe|regel|befehl)"
        ),
    )
)

_SENT_AWAY = re.compile(
    r"\b(?:send|post|forward|upload|transmit|exfiltrate|leak|submit|envoie[sz]?|envoyez|sende[nt]?|schicken?)\b[^.!?]{0,40}"
    r"\b(?:conversation|password|passwort|mots? de passe|secret|credential|api.?key|token|chat|history|verlauf"
    r"|historique|system prompt|context|everything|documents?|user's)\b[^!?]{0,40}\b(?:https?|ftp)://"
)
_IMAGE = re.compile(r"!\[[^\]\n]{0,200}\]\(\s{0,5}(https?://[^\n)]{1,1000})")
_PLACEHOLDER = re.compile(r"\{[^}]{1,80}\}|%7b|\$\{?[a-z]|<[a-z]|\[[a-z]|\b(?:data|secret|conversation)_here\b")

_ZERO_WIDTH = "\u200b\u200c\u200d\u2060-\u2064\ufeff"
_HIDDEN = re.compile(
    # Bidirectional overrides; tags, but for a flag's; and what encodes a text by selectors or by nothing at all.
    rf"[\u202d\u202e]|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]|[\U000e0100-\U000e01ef]{{4}}"
    rf"|[{_ZERO_WIDTH}]{{8}}"
)
_BIDI = re.compile(r"[\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_SPLIT_WORD = re.compile(rf"(?<=[a-z])[{_ZERO_WIDTH}](?=[a-z])")
# Web pages have one or two, where a long word may be broken.
_SPLIT_WORDS = 3
_INVISIBLE = re.compile(rf"[{_ZERO_WIDTH}\u00ad\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\U000e0100-\U000e01ef]")


def suspicions_of(text: str) -> tuple[str, ...]:
    """Return the names of what makes `text` suspicious, each once; empty for most."""
    lowered = text.lower()
    shown = _INVISIBLE.sub("", lowered)
    return tuple(name for name, is_found in _DETECTORS if is_found(lowered if name == HIDDEN_TEXT else shown))


def _overrides(text: str) -> bool:
    paragraphs = "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return any(pattern.search(paragraphs) for pattern in _OVERRIDES)


def _exfiltrates(text: str) -> bool:
    return any(_carries_away(url) for url in _images(text)) or bool(_SENT_AWAY.search(" ".join(text.split())))


def _images(text: str) -> Iterator[str]:
    return (found.group(1) for found in _IMAGE.finditer(text))


def _carries_away(url: str) -> bool:
    return bool(_PLACEHOLDER.search(url.partition("?")[2]))


def _hides(text: str) -> bool:
    if _HIDDEN.search(text) or sum(1 for _ in _SPLIT_WORD.finditer(text)) >= _SPLIT_WORDS:
        return True
    return bool(_BIDI.search(text)) and not _RIGHT_TO_LEFT.search(text)


_DETECTORS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (ROLE_MARKUP, lambda text: bool(_ROLES.search(text))),
    (OVERRIDE, _overrides),
    (TOOL_MARKUP, lambda text: bool(_TOOLS.search(text))),
    (EXFILTRATION, _exfiltrates),
    (HIDDEN_TEXT, _hides),
)
