"""With the real tokenizer, no text of a passage or of a turn becomes a token that has a role."""

import pytest
from hypothesis import given, settings

from services.common.prompts.packing import Passage
from services.common.prompts.prompt import Draft, PromptPacker, Turn
from services.common.prompts.tokenizer import ChatTokenizer
from tests.integration.generate.tiny_model import write_model
from tests.unit.common.prompts.test_markup import texts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return ChatTokenizer(write_model(tmp_path_factory.mktemp("model")))


@given(texts, texts, texts)
@settings(max_examples=300)
def test_the_special_tokens_of_a_prompt_are_those_of_its_frame(tokenizer, title, text, answer):
    packer = PromptPacker(tokenizer, 4096)
    prompt = packer.pack(Draft("", [Turn("Why?", answer)], [Passage(title, text)], "What?"), 50)
    special = set(range(17))
    in_frame = [token for piece in tokenizer.frame(prompt.turns_used) for token in piece.token_ids if token in special]
    assert in_frame
    assert [token for token in prompt.token_ids if token in special] == in_frame
