"""What the trainers see: the very tokens that the engine gets, then the answer and what ends it, and a loss on that."""

import pytest

from services.common.prompts.lengths import AnswerLength
from services.common.prompts.prompt import PromptPacker
from services.common.prompts.tokenizer import ChatTokenizer
from services.tune.domain.errors import TooLittleData
from services.tune.domain.hyperparameters import Method, defaults, resolved
from services.tune.training import trainers
from services.tune.training.encoding import Encoder, draft_of
from services.tune.training.examples import IGNORED, material_of, preferences_of
from services.tune.training.machine import make_deterministic
from services.tune.training.models import open_base, with_adapter
from tests.integration.generate.tiny_model import write_model
from tests.integration.tune.test_training import as_before
from tests.training_folders import QUICK
from tests.training_rows import ROWS, row, rows

pytestmark = pytest.mark.timeout(600)
CONTEXT = 2048
END = "<|im_end|>"
ANSWERS = {Method.SFT: ("completion",), Method.DPO: ("chosen", "rejected"), Method.KTO: ("completion",)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(model):
    return Encoder(model, CONTEXT)


@pytest.fixture(scope="module")
def engine(model, encoder):
    """What the engine would see of a row with an answer: the tokens of both, and how many are the prompt's."""
    chat = ChatTokenizer(model)
    packer = PromptPacker(chat, CONTEXT)
    end = encoder.tokenizer.convert_tokens_to_ids(END)

    def seen(one, name):
        prompt = packer.pack(draft_of(one), AnswerLength.UNSET.tokens).token_ids
        return (*prompt, *chat.encode(one[name]), end), len(prompt)

    return seen


def numbers_of(method):
    return resolved(defaults(method, 1_000_000, ROWS), QUICK | {"micro_batch": 4}, 16)


def material(method, encoder, found=None):
    return material_of(method, rows(method) if found is None else found, encoder, numbers_of(method), 7)


def batch_of(method, model, encoder, folder):
    """The first batch that a trainer learns from, and all that it learns."""
    course = trainers.Course(folder, 7, 1, 1, checkpointing=False, callbacks=())
    with as_before():
        make_deterministic(7, 1)
        learnt = material(method, encoder)
        adapter = with_adapter(open_base(model), numbers_of(method), None)
        taught = trainers.Taught(adapter, encoder.tokenizer, learnt.dataset, numbers_of(method))
        trainer = {Method.SFT: trainers.sft, Method.DPO: trainers.dpo, Method.KTO: trainers.kto}[method](taught, course)
        return next(iter(trainer.get_train_dataloader()))


@pytest.mark.parametrize("method", list(ANSWERS))
def test_the_prompt_of_the_engine_is_seen_and_the_answer_with_its_end_alone_is_learnt(
    method, model, encoder, engine, tmp_path
):
    batch = batch_of(method, model, encoder, tmp_path)
    expected = dict(engine(one, name) for one in rows(method) for name in ANSWERS[method])
    learnt = batch["labels"] != IGNORED if method is Method.SFT else batch["completion_mask"] == 1
    for tokens, is_learnt in zip(batch["input_ids"].tolist(), learnt.tolist(), strict=True):
        whole = next(each for each in expected if list(each) == tokens[: len(each)])
        begins, ends = expected[whole], len(whole)
        assert is_learnt == [begins <= place < ends for place in range(len(tokens))]


def test_kto_compares_each_answer_with_another_question_of_its_batch(model, encoder, tmp_path):
    batch = batch_of(Method.KTO, model, encoder, tmp_path)
    assert batch["KL_input_ids"].shape[0] == batch["input_ids"].shape[0] == 4
    assert batch["KL_input_ids"].tolist() != batch["input_ids"].tolist()


def test_a_text_cannot_pass_for_the_end_of_an_answer(encoder):
    end = encoder.tokenizer.convert_tokens_to_ids(END)
    assert encoder.answer(f"It is 7. {END} It is 8.").count(end) == 1


def test_what_does_not_fit_the_model_is_left_out_and_counted(encoder):
    long = row(99, completion="It costs 99 euros. " * 2000)
    learnt = material(Method.SFT, encoder, [*rows(Method.SFT), long, row(98, question=" ", completion="No.")])
    assert (len(learnt.examples), learnt.left_out) == (ROWS, 2)
    assert learnt.longest < CONTEXT


def test_data_that_teaches_nothing_is_refused(encoder):
    with pytest.raises(TooLittleData):
        material(Method.SFT, encoder, rows(Method.SFT, 3))
    with pytest.raises(TooLittleData, match="good"):
        material(Method.KTO, encoder, [{**one, "label": True} for one in rows(Method.KTO)])
    with pytest.raises(TooLittleData):
        preferences_of(rows(Method.DPO, 3), encoder)


def test_good_and_bad_answers_to_one_question_are_pairs_for_a_reward_model(encoder):
    good = [row(number, completion="Right.", label=True) for number in range(8)]
    bad = [row(number, completion="Wrong.", label=False) for number in range(8)]
    pairs = preferences_of([*good, *bad], encoder)
    assert len(pairs) == 8
    assert pairs[0]["chosen_ids"] != pairs[0]["rejected_ids"]
