"""Counts tokens with a Hugging Face tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer


class HuggingFaceTokens:
    """The tokenizer in a model's folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens, special ones left out."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
