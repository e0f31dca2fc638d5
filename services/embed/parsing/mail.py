"""Reads e-mail: who wrote what to whom, the text, and the names of what is attached."""

import email
import email.policy
from email.message import EmailMessage, MIMEPart

from services.embed.domain import ParsedDocument
from services.embed.parsing.text import clean
from services.embed.parsing.web import parse_markup

_HEADERS = ("From", "To", "Cc", "Date", "Subject")


def parse_mail(content: bytes) -> ParsedDocument:
    """Read one message; of a text and an HTML body the text is taken."""
    message = email.message_from_bytes(content.lstrip(), policy=email.policy.default)
    headers = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    attachments = [f"- {name}" for part in message.iter_attachments() if (name := part.get_filename())]
    parts = ["\n".join(headers), _body(message)]
    if attachments:
        parts.append("Attachments:\n\n" + "\n".join(attachments))
    text = "\n\n".join(filter(None, parts))
    return ParsedDocument(text, _header(message, "Subject"), kind="mail", author=_header(message, "From"))


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, AttributeError, IndexError, LookupError):
        # The standard library fails on some hostile headers; the rest is still worth finding.
        return ""


def _body(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    if body is None:
        return ""
    text = _content(body)
    return parse_markup(text).text if body.get_content_subtype() == "html" else clean(text)


def _content(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except (LookupError, ValueError):
        # An encoding that nobody knows.
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
