"""Tells a document's kind, language and author: what its metadata says where that is valid, or else what it shows."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from services.common.analysis import language_of
from services.common.index_config import STRATEGY_OF_KIND
from services.embed.chunking.turns import is_conversation
from services.embed.domain import Change, ParsedDocument

_CODE = re.compile(
    r"\.(?:bash|c|cc|conf|cpp|cs|css|dart|exs?|go|gradle|graphql|h|hcl|hpp|ini|java|jl|jsx?|kt|lua|mjs|mm|php|pl"
    r"|properties|proto|ps1|py|r|rb|rs|scala|scss|sh|sql|svelte|swift|tf|toml|tsx?|vue|ya?ml|zig)",
    re.IGNORECASE,
)


def kind_of(document: ParsedDocument, change: Change) -> str:
    """Return a document's kind, one of STRATEGY_OF_KIND."""
    said = _text_at(change, "kind").casefold()
    if said in STRATEGY_OF_KIND:
        return said
    if document.kind:
        return document.kind
    if _CODE.fullmatch(PurePosixPath(change.external_id).suffix):
        return "code"
    return "chat" if is_conversation(document.text) else "text"


def language_in(document: ParsedDocument, change: Change, languages: Sequence[str]) -> str:
    """Return which of the languages a document is in; "" where that cannot be told, or it is another."""
    said = _text_at(change, "language").casefold().replace("_", "-").partition("-")[0]
    return said if said in languages else language_of(document.text, languages)


def author_of(document: ParsedDocument, change: Change) -> str:
    """Return who wrote a document, as its source names them; "" where nobody is named."""
    return _text_at(change, "author") or document.author


def _text_at(change: Change, name: str) -> str:
    value = change.metadata.get(name)
    return value.strip() if isinstance(value, str) else ""
