"""Tells what a file is: its content decides, its name is a hint where contents look alike."""

import json
import re
from enum import StrEnum
from pathlib import PurePosixPath

from services.embed.domain import EncryptedDocument, MalformedDocument, UnsupportedFormat
from services.embed.parsing.text import decode, is_text


class Kind(StrEnum):
    """A format with a parser of its own."""

    PDF = "pdf"
    OFFICE = "office"
    HTML = "html"
    EMAIL = "email"
    JSON = "json"
    CSV = "csv"
    TEXT = "text"


_PDF_WITHIN = 1024
_HEAD = 4096
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_HTML = re.compile(
    # Possessive: a run of comments has one reading, or a hostile file would take for ever.
    r"\s*(<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*+<(!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"</?(p|div|h[1-6]|table|ul|ol|span|a|br|section|article)\b[^>]*>", re.IGNORECASE)
_MAIL_HEADER = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}")
_MAIL_FIELDS = re.compile(
    r"^(from|to|subject|date|message-id|mime-version|received|return-path):", re.IGNORECASE | re.MULTILINE
)
_MAIL_FIELDS_NEEDED = 3

_HINTS = {
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
    ".eml": Kind.EMAIL,
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    "text/html": Kind.HTML,
    "message/rfc822": Kind.EMAIL,
    "text/csv": Kind.CSV,
}
_BINARY_ENDINGS = {".pdf", ".docx", ".pptx", ".xlsx"}


def kind_of(content: bytes, name: str, media_type: str) -> Kind:
    """Return what `content` is.

    Raises:
        EncryptedDocument: it is an Office file that opens only with a password.
        MalformedDocument: it is no text, and not what its name says.
        UnsupportedFormat: it is no text, and nothing known.
    """
    ending = _ending(name)
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return Kind.PDF
    if content.startswith(b"PK\x03\x04"):
        return Kind.OFFICE
    if content.startswith(_OLE):
        raise _ole_rejection(content)
    if not is_text(content):
        if ending in _BINARY_ENDINGS:
            raise MalformedDocument(f"the content is not what the ending {ending} says, and nothing known")
        raise UnsupportedFormat("the content is no text and no known format")
    return _kind_of_text(content, ending, media_type)


def is_plain(content: bytes, name: str, media_type: str) -> bool:
    """Return whether `content` is surely Markdown or plain text: nothing that a parser could fall over."""
    head = decode(content[:_HEAD]).lstrip("\ufeff")
    if not is_text(content) or content.startswith((_OLE, b"PK\x03\x04")) or b"%PDF-" in content[:_PDF_WITHIN]:
        return False
    return head.lstrip()[:1] not in {"{", "["} and _kind_of_text(content, _ending(name), media_type) is Kind.TEXT


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _ole_rejection(content: bytes) -> Exception:
    if _ENCRYPTED_PACKAGE in content:
        return EncryptedDocument("the Office file opens only with a password")
    return UnsupportedFormat("Office formats of before 2007 are not read")


def _kind_of_text(content: bytes, ending: str, media_type: str) -> Kind:
    head = decode(content[:_HEAD]).lstrip("\ufeff")
    hint = _HINTS.get(ending) or _HINTS.get(media_type.partition(";")[0].strip().lower())
    if _HTML.match(head) or (hint is Kind.HTML and _TAG.search(head)):
        return Kind.HTML
    if _is_mail(head.replace("\r\n", "\n"), hinted=hint is Kind.EMAIL):
        return Kind.EMAIL
    if head.lstrip()[:1] in {"{", "["} and _is_json(content):
        return Kind.JSON
    return Kind.CSV if hint is Kind.CSV else Kind.TEXT


def _is_mail(head: str, *, hinted: bool) -> bool:
    header = _MAIL_HEADER.match(head.lstrip("\n"))
    if header is None:
        return False
    fields = {field.lower() for field in _MAIL_FIELDS.findall(header[0])}
    return bool(fields) if hinted else len(fields) >= _MAIL_FIELDS_NEEDED


def _is_json(content: bytes) -> bool:
    text = decode(content).strip()
    # Where it is one value a line, the first line tells.
    for candidate in (text, text.partition("\n")[0]):
        try:
            json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return True
    return False
