"""A Hugging Face model's tokenizer and chat template."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from services.common.prompts.packing import Piece

# A character of the private use area never stands in a template.
_HOLE = "\ue5a1"


class ChatTokenizer:
    """Encodes what people wrote apart from the template, so that text cannot become a role."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer of the model in `folder`; it must be a fast one with a chat template."""
        chat = AutoTokenizer.from_pretrained(folder)  # a folder on this disk  # nosec B615
        self._render: Callable[..., str] = chat.apply_chat_template
        self._template: Tokenizer = chat.backend_tokenizer
        plain = json.loads(self._template.to_str())
        # Without its added tokens, the plain tokenizer has no way to make one of "<|im_start|>".
        self._control = frozenset(token["id"] for token in plain["added_tokens"])
        self._plain: Tokenizer = Tokenizer.from_str(json.dumps(plain | {"added_tokens": []}))
        self._frames: dict[int, Sequence[Piece]] = {}
        self._ending: Sequence[int] = () if chat.eos_token_id is None else (chat.eos_token_id,)

    def encode(self, text: str) -> Sequence[int]:
        tokens: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        # Some vocabularies hold the control tokens as pieces of text too.
        return tokens if self._control.isdisjoint(tokens) else [token for token in tokens if token not in self._control]

    def beginning(self, text: str, tokens: int) -> str:
        offsets = self._plain.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= tokens else text[: offsets[tokens][0]]

    def ending(self) -> Sequence[int]:
        """Return the token that ends an answer; nothing where the vocabulary has none."""
        return self._ending

    def frame(self, turns: int) -> Sequence[Piece]:
        frame = self._frames.get(turns)
        if frame is None:
            frame = self._frames[turns] = self._rendered(turns)
        return frame

    def _rendered(self, turns: int) -> Sequence[Piece]:
        roles = ("system", *("user", "assistant") * turns, "user")
        messages: list[dict[str, Any]] = [{"role": role, "content": _HOLE} for role in roles]
        text = self._render(messages, tokenize=False, add_generation_prompt=True)
        pieces = text.split(_HOLE)
        if len(pieces) != len(roles) + 1:
            message = f"the chat template does not show {len(roles)} messages once each"
            raise ValueError(message)
        return [Piece(piece, self._template.encode(piece, add_special_tokens=False).ids) for piece in pieces]
