"""Models that start fast and mean nothing: two random layers under a tokenizer of a few words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?'-"
CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}


def write_cross_encoder(folder: Path, seed: int = 0, labels: int = 1) -> Path:
    """Write a cross-encoder with so many scores, and return its folder."""
    torch.manual_seed(seed)
    words = _vocabulary()
    model = BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=labels, **CONFIG))
    return _write(model, words, folder)


def write_embedding_model(folder: Path) -> Path:
    """Write what has no head that scores, and return its folder."""
    torch.manual_seed(0)
    words = _vocabulary()
    return _write(BertModel(BertConfig(vocab_size=len(words), **CONFIG)), words, folder)


def _vocabulary() -> dict[str, int]:
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return {piece: number for number, piece in enumerate(pieces)}


def _write(model, words: dict[str, int], folder: Path) -> Path:
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return folder
