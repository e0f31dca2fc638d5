"""Counts tokens with a Hugging Face tokenizer."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from tokenizers import Tokenizer

# What the encoders read that do not say it.
_USUAL_MOST = 512


class HuggingFaceTokens:
    """The tokenizer in a model's folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self.most = most_tokens_of(folder)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens, special ones left out."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def most_tokens_of(folder: Path) -> int:
    """Return how many tokens of a text the model in `folder` reads, special ones with them."""
    said = folder / "sentence_bert_config.json"
    most = orjson.loads(said.read_bytes()).get("max_seq_length") if said.exists() else None
    return int(most or _USUAL_MOST)
