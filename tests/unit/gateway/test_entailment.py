"""An entailment model in a folder: a tiny one, with random weights."""

import pytest

from services.gateway.adapters.entailment import NotAnEntailmentModel, open_entailment
from services.gateway.ports import EntailmentFailed

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "returns", "are", "accepted", "within", "30", "days", "."]
NLI = {0: "contradiction", 1: "entailment", 2: "neutral"}


def model_in(folder, labels):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


async def test_each_pair_gets_a_probability(tmp_path):
    entailment = open_entailment(model_in(tmp_path / "nli", NLI))
    pairs = [("Returns are accepted.", "Returns are accepted."), ("30 days.", "Within 30 days.")]
    scores = await entailment.scores(pairs)
    assert len(scores) == 2
    assert all(0 < score < 1 for score in scores)


async def test_a_model_that_fails_says_so(tmp_path):
    entailment = open_entailment(model_in(tmp_path / "nli", NLI))
    with pytest.raises(EntailmentFailed):
        await entailment.scores([(None, None)])


@pytest.mark.parametrize("labels", [{0: "LABEL_0", 1: "LABEL_1"}, {0: "entailment"}])
def test_a_model_that_cannot_tell_entailment_is_refused(tmp_path, labels):
    with pytest.raises(NotAnEntailmentModel):
        open_entailment(model_in(tmp_path / "other", labels))


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(NotAnEntailmentModel):
        open_entailment(str(tmp_path))
