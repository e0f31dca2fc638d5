"""Takes the force out of markup by which a quoted text would pass for a role, a tool or a delimiter."""

import re
import unicodedata

# Blanks, and what is not seen at all: soft hyphens, joiners, directions, variation selectors, tags.
_GAP = (
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]*"
)
# The less-than sign, and what no compatibility form leads back to it.
_OPENING = "[<\u00ab\u02c2\u1438\u2039\u2329\u276c\u276e\u2770\u27e8\u29fc\u3008]"
_TAGS = r"passages?|s>|tool|function|system|assistant|user|im_start|im_end|think|instructions?"
_ROLES = r"system|assistant|user|human|tool|developer"

_TAG = re.compile(rf"{_OPENING}(?={_GAP}(?:\||<{_GAP}/?{_GAP}SYS|/?{_GAP}(?:{_TAGS})))", re.IGNORECASE)
_CLOSING = re.compile(r"(?<=\|)>")
_BRACKET = re.compile(rf"\[(?={_GAP}/?{_GAP}(?:INST|SYS|TOOL|AVAILABLE_TOOLS)\w*{_GAP}\])", re.IGNORECASE)
_HEADING = re.compile(rf"^([ \t>*_-]*)#+(?=[ \t]*(?:{_ROLES}|instructions?)\b)", re.IGNORECASE | re.MULTILINE)
_ROLE = re.compile(rf"^([ \t>*_#-]*(?:{_ROLES})[ \t]*[*_]*[ \t]*):", re.IGNORECASE | re.MULTILINE)
_LINES = re.compile("[\u2028\u2029]")


def neutral(text: str) -> str:
    """Return `text` with single characters changed where it looks like markup, and no word of it lost.

    Openings become a quote's, brackets round, and the colon after a role a ratio's; marks of a heading before a
    role go. Fullwidth and small forms of ASCII become what they are forms of.
    """
    if not text.isascii():
        text = _LINES.sub("\n", "".join(map(_plain, text)))
    text = _BRACKET.sub("(", _CLOSING.sub("\u203a", _TAG.sub("\u2039", text)))
    return _ROLE.sub("\\1\u2236", _HEADING.sub(r"\1", text))


def _plain(character: str) -> str:
    if character.isascii() or not unicodedata.decomposition(character).startswith(("<wide>", "<small>")):
        return character
    form = unicodedata.normalize("NFKC", character)
    return form if form.isascii() and not form.isspace() else character
