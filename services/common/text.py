"""What people type, made safe to search, prompt with and log."""

import unicodedata

_KEPT = "\n\t"


def visible(text: str) -> str:
    """Return `text` without the control characters that would drive a terminal."""
    return "".join(char for char in text if char in _KEPT or unicodedata.category(char) != "Cc")


def printable(text: str) -> str:
    """Return `text` in NFC without control characters, and without space at the ends.

    Control characters (Unicode category Cc, but newline and tab), lone surrogates and
    non-characters go; format characters that scripts need (such as ZWNJ) stay.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    kept = (char for char in text if char in _KEPT or unicodedata.category(char) not in {"Cc", "Cs", "Cn"})
    return unicodedata.normalize("NFC", "".join(kept)).strip()
