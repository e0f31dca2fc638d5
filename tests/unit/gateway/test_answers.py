"""Ask, Search and Rate, before services that answer over real gRPC."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.feedback.v1.events_pb2 import THUMB_UP, Interaction, InteractionPassage
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1.tuning_service_pb2 import Tuning

from services.common.answer_ids import AnswerIds
from services.common.errors import ResourceExhausted
from services.common.grounding.abstention import Thresholds
from services.common.identity import system
from services.gateway.checking import Checks
from services.gateway.domain.assistants import AnswerLength, Assistant, CitationPolicy, Narrowing

PLATFORM_KEY = b"k" * 32
SOON_SECONDS = 5.0


class EngineBusy(ResourceExhausted):
    reason = "ENGINE_BUSY"
    retry_seconds = 2.0


def kinds(events):
    return [event.WhichOneof("event") for event in events]


def answer_of(events):
    return "".join(event.token_delta.text for event in events)


def last(events, kind):
    return next(getattr(event, kind) for event in reversed(events) if event.WhichOneof("event") == kind)


def reason_of(error):
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return info.reason


async def until_it_fails(call):
    events = []
    try:
        async for event in call:
            events.append(event)  # noqa: PERF401 - what came before the error counts
    except grpc.aio.AioRpcError as error:
        return events, error
    raise AssertionError("the call ended well")


async def refused(gateway, **request):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.events(**request)
    return caught.value.code(), reason_of(caught.value)


async def test_an_answer_comes_in_the_promised_order(gateway):
    events = await gateway.events()
    shown = kinds(events)
    pieces = shown.count("token_delta")
    assert pieces
    assert shown == ["retrieval_done", *["token_delta"] * pieces, "citations", "usage", "end"]
    assert answer_of(events) == "Returns are accepted within 30 days."


async def test_the_citation_points_at_the_passage_that_supports_it(gateway, behind):
    (citation,) = last(await gateway.events(), "citations").citations
    passage = behind.passages[citation.passage_index].text
    assert (citation.number, citation.support) == (1, 1.0)
    assert passage[citation.passage_start : citation.passage_end] == "Returns are accepted within 30 days."


async def test_a_passage_that_was_not_in_the_prompt_is_never_cited(gateway, behind):
    behind.passage_indexes = [0]
    assert not last(await gateway.events(), "citations").citations


async def test_a_citation_counts_the_passages_that_the_caller_got_whichever_the_prompt_held(gateway, behind, log):
    behind.passage_indexes = [1]
    (citation,) = last(await gateway.events(), "citations").citations
    assert (citation.number, citation.passage_index) == (1, 1)
    (passage,) = Interaction.FromString(log.records[0][2]).passages
    assert (passage.chunk_id, passage.cited) == ("c2", True)


@pytest.mark.parametrize("claimed", [[-1], [100], [1, 1, 1, -(2**31)]])
async def test_indexes_of_passages_that_cannot_be_true_break_nothing(gateway, behind, claimed):
    behind.passage_indexes = claimed
    assert all(citation.passage_index < 2 for citation in last(await gateway.events(), "citations").citations)


async def test_the_models_own_markers_are_no_citations(gateway, behind):
    behind.pieces = ("It is blue, see [2] and [7].",)
    assert not last(await gateway.events(), "citations").citations


async def test_the_interaction_is_recorded_before_the_end_and_the_answers_id_names_it(gateway, log):
    end = last(await gateway.events(conversation_id="c-1"), "end")
    ((tenant_id, conversation_id, record),) = log.records
    interaction = Interaction.FromString(record)
    assert (tenant_id, conversation_id, end.conversation_id) == ("acme", "c-1", "c-1")
    assert AnswerIds(PLATFORM_KEY).read("acme", end.answer_id) == interaction.interaction_id
    assert interaction.answer == "Returns are accepted within 30 days."
    assert interaction.prompt == "the prompt"
    assert [(passage.chunk_id, passage.cited) for passage in interaction.passages] == [("c1", False), ("c2", True)]
    assert len(interaction.trace_id) == 32
    assert interaction.subject.startswith("key:")


async def test_an_answer_that_cannot_be_recorded_has_no_end(starting, behind):
    class AwayLog:
        def record(self, tenant_id, conversation_id, interaction):
            return asyncio.get_running_loop().create_future()

    async with starting(behind, AwayLog(), record_seconds=0.05) as gateway:
        call = gateway.asking.Ask(pb.AskRequest(question="Hello?"), metadata=await gateway.signed_in())
        events, error = await until_it_fails(call)
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "BUS_UNAVAILABLE")
    assert kinds(events)[-1] == "usage"


async def test_an_answer_that_breaks_off_has_no_end_and_is_not_recorded(gateway, behind, log):
    behind.finishes = False
    assert await refused(gateway) == (grpc.StatusCode.UNAVAILABLE, "ANSWER_INCOMPLETE")
    assert not log.records


async def test_a_new_conversation_gets_an_id_of_its_own(gateway):
    ids = {last(await gateway.events(), "end").conversation_id for _ in range(2)}
    assert len(ids) == 2
    assert "" not in ids


async def test_a_follow_up_brings_the_history_and_is_asked_as_it_stands_alone(gateway, behind, log):
    behind.turns = [Interaction(question="Do you ship to Norway?", answer="Yes.")]
    events = await gateway.events(question="And to Peru?", conversation_id="c-1")
    conversation, retrieve, generate = behind.requests
    assert conversation.conversation_id == "c-1"
    assert kinds(events)[:2] == ["rewritten", "retrieval_done"]
    assert last(events, "rewritten").standalone_question == "Do you ship to Peru?"
    assert retrieve.query == generate.question == "Do you ship to Peru?"
    assert [(turn.question, turn.answer) for turn in generate.history] == [("Do you ship to Norway?", "Yes.")]
    kept = Interaction.FromString(log.records[0][2])
    assert (kept.question, kept.standalone_question) == ("And to Peru?", "Do you ship to Peru?")


async def test_a_new_topic_in_a_conversation_is_asked_as_it_is(gateway, behind, log):
    behind.turns = [Interaction(question="Do you ship to Norway?", answer="Yes.")]
    events = await gateway.events(question="Who founded Zenith?", conversation_id="c-1")
    assert kinds(events)[0] == "retrieval_done"
    assert behind.requests[1].query == "Who founded Zenith?"
    assert not Interaction.FromString(log.records[0][2]).standalone_question


async def test_a_follow_up_of_a_follow_up_goes_by_what_that_one_was_asked_as(gateway, behind):
    turn = Interaction(question="And to Peru?", standalone_question="Do you ship to Peru?", answer="Yes.")
    behind.turns = [turn]
    await gateway.events(question="And to Chile?", conversation_id="c-1")
    assert behind.requests[1].query == "Do you ship to Chile?"


async def test_only_what_is_supported_of_an_answer_is_put_into_a_follow_up(gateway, behind):
    def turn(cited):
        passages = [InteractionPassage(document_id="d", cited=cited)]
        return Interaction(question="Who founded it?", answer="Ada Lovelace founded it.", passages=passages)

    behind.turns = [turn(cited=True)]
    await gateway.events(question="When was she born?", conversation_id="c-1")
    assert behind.requests[1].query == "When was Ada Lovelace born?"
    behind.turns = [turn(cited=False)]
    await gateway.events(question="When was she born?", conversation_id="c-1")
    assert behind.requests[-2].query == "When was she born?"


async def test_a_withheld_turn_is_not_put_into_a_follow_up(gateway, behind):
    behind.turns = [Interaction(question="Do you ship to Norway?", answer="Yes.", withheld=True)]
    await gateway.events(question="And to Peru?", conversation_id="c-1")
    assert behind.requests[1].query == "And to Peru?"


async def test_a_conversation_that_is_not_the_callers_is_begun_anew_without_its_history(gateway, behind):
    behind.turns = None
    events = await gateway.events(question="And to Peru?", conversation_id="c-1")
    assert last(events, "end").conversation_id == "c-1"
    assert behind.requests[1].query == "And to Peru?"
    assert not behind.requests[-1].history


@pytest.mark.parametrize(
    ("said", "query"),
    [
        (["Do you ship ", "to Peru by sea?"], "Do you ship to Peru by sea?"),
        (["Do you ship to Chile?"], "Do you ship to Peru?"),
        (["Do you ship 12 to Peru?"], "Do you ship to Peru?"),
        (["Do you ship to Peru?\nI hope so."], "Do you ship to Peru?"),
        (["do you ship to Peru and " * 40], "Do you ship to Peru?"),
        ([" "], "Do you ship to Peru?"),
        ([], "Do you ship to Peru?"),
    ],
)
async def test_a_model_may_rewrite_and_rules_do_where_it_is_late_or_adds_something(starting, behind, log, said, query):
    behind.turns, behind.rewrite = [Interaction(question="Do you ship to Norway?", answer="Yes.")], said
    async with starting(behind, log, rewrite_seconds=0.2) as gateway:
        events = await gateway.events(question="And to Peru?", conversation_id="c-1")
    assert last(events, "rewritten").standalone_question == query
    assert kinds(events)[-1] == "end"
    rewriting = next(
        request for request in behind.requests if "instructions" in type(request).DESCRIPTOR.fields_by_name
    )
    assert rewriting.restricted
    assert "Norway" in rewriting.question


async def test_a_first_question_is_not_rewritten_by_a_model(starting, behind, log):
    async with starting(behind, log, rewrite_seconds=0.2) as gateway:
        await gateway.events(question="And to Peru?", conversation_id="c-1")
    assert len(behind.requests) == 3


async def test_a_turn_that_is_withheld_is_not_told_again(gateway, behind):
    behind.turns = [Interaction(interaction_id="i1", withheld=True), Interaction(question="Open?", answer="Yes.")]
    await gateway.events(conversation_id="c-1")
    assert [turn.question for turn in behind.requests[-1].history] == ["Open?"]


async def test_an_answer_keeps_the_documents_of_the_turns_in_its_prompt(gateway, behind, log):
    def turn(document_id, *before):
        passages = [InteractionPassage(document_id=document_id)]
        return Interaction(question="?", answer="!", passages=passages, history_document_ids=before)

    behind.turns, behind.most_turns = [turn("d0"), turn("d1"), turn("d2", "d1", "d-older")], 2
    await gateway.events(conversation_id="c-1")
    assert list(Interaction.FromString(log.records[0][2]).history_document_ids) == ["d-older", "d1", "d2"]


async def test_an_answer_keeps_the_documents_whose_words_its_question_was_completed_with(gateway, behind, log):
    passages = [InteractionPassage(document_id="d1", cited=True)]
    behind.turns = [Interaction(question="Who founded it?", answer="Ada Lovelace did.", passages=passages)]
    behind.most_turns = 0
    await gateway.events(question="When was she born?", conversation_id="c-1")
    assert list(Interaction.FromString(log.records[0][2]).history_document_ids) == ["d1"]


@pytest.mark.parametrize(
    ("turns", "restricted", "told"), [([], False, False), ([], True, True), ([Interaction(question="?")], False, True)]
)
async def test_what_not_everybody_may_read_is_generated_as_restricted(gateway, behind, turns, restricted, told):
    behind.turns, behind.passages[0].restricted = turns, restricted
    await gateway.events(conversation_id="c-1")
    assert behind.requests[-1].restricted is told


async def test_every_call_behind_acts_for_the_tenant_of_the_key(gateway, behind):
    await gateway.events(conversation_id="c-1")
    assert {identity.tenant_id for identity in behind.callers} == {"acme"}
    assert len(behind.callers) == 3


@pytest.mark.parametrize(
    ("request_fields", "reason"),
    [
        ({"question": ""}, "EMPTY_QUESTION"),
        ({"question": " \n\t"}, "EMPTY_QUESTION"),
        ({"question": "\x00\x01\x1b\x7f"}, "EMPTY_QUESTION"),
        ({"question": "x" * 100_000}, "QUESTION_TOO_LONG"),
        ({"question": "\x00" * 100_000}, "QUESTION_TOO_LONG"),
        ({"question": "界" * 8001}, "QUESTION_TOO_LONG"),
        ({"question": "Hi?", "top_k": -1}, "INVALID_TOP_K"),
        ({"question": "Hi?", "top_k": -(2**31)}, "INVALID_TOP_K"),
        ({"question": "Hi?", "conversation_id": "c", "top_k": -1}, "INVALID_TOP_K"),
        ({"question": "Hi?", "conversation_id": "a b"}, "INVALID_CONVERSATION_ID"),
        ({"question": "Hi?", "conversation_id": "x" * 65}, "INVALID_CONVERSATION_ID"),
        ({"question": "Hi?", "conversation_id": "../\n"}, "INVALID_CONVERSATION_ID"),
    ],
)
async def test_what_can_never_work_is_refused_before_anything_is_asked(gateway, behind, request_fields, reason):
    assert await refused(gateway, **request_fields) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert not behind.requests


@pytest.mark.parametrize(
    "question",
    [
        "ما هي سياسة الإرجاع؟",
        "退货政策是什么？",  # noqa: RUF001 - as it is typed
        "配送はいつですか",
        "배송은 언제 되나요?",
        "वापसी नीति क्या है?",
        "🤷🏽‍♀️ 👩‍👩‍👧?",
        "Quel e\u0301te\u0301 ?",
        "نمی‌دانم",
        "x" * 8000,
        "What\x00 is\x1b this?",
    ],
)
async def test_a_question_of_any_script_is_answered(gateway, behind, question):
    behind.pieces = (question,)
    events = await gateway.events(question=question)
    assert kinds(events)[-1] == "end"
    assert behind.requests[-1].question


async def test_control_characters_do_not_reach_the_engine(gateway, behind):
    await gateway.events(question="\x1b[2JWhat\x00 now?")
    assert behind.requests[-1].question == "[2JWhat now?"


async def test_a_huge_top_k_is_clipped(gateway, behind):
    await gateway.events(top_k=2**31 - 1)
    assert behind.requests[0].top_k == 100


async def test_an_assistant_decides_what_the_request_leaves_open(gateway, behind, log):
    assistant = Assistant("sales", "Be brief.", ("wiki",), "sales-v1", 7)
    await gateway.assistants.put(system("acme", "test"), assistant)
    await gateway.events(assistant="sales")
    retrieve, generate = behind.requests
    assert (retrieve.top_k, list(retrieve.filter.sources)) == (7, ["wiki"])
    assert (generate.instructions, generate.adapter) == ("Be brief.", "sales-v1")
    assert Interaction.FromString(log.records[0][2]).assistant_version == 1


async def test_an_assistants_length_and_filter_are_passed_on(gateway, behind):
    narrowing = Narrowing(kinds=("page",), metadata=(("team", "blue"),))
    assistant = Assistant("sales", narrowing=narrowing, answer_length=AnswerLength.LONG)
    await gateway.assistants.put(system("acme", "test"), assistant)
    await gateway.events(assistant="sales")
    retrieve, generate = behind.requests
    assert (list(retrieve.filter.kinds), dict(retrieve.filter.metadata)) == (["page"], {"team": "blue"})
    assert generate.answer_length == generate_pb.ANSWER_LENGTH_LONG


async def test_what_a_request_and_its_assistant_cannot_both_mean_finds_nothing(gateway, behind):
    await gateway.assistants.put(system("acme", "test"), Assistant("sales", narrowing=Narrowing(kinds=("page",))))
    events = await gateway.events(assistant="sales", filter=retrieve_pb.RetrieveFilter(kinds=["mail"]))
    assert not last(events, "retrieval_done").passages
    assert len(behind.requests) == 1


async def test_a_request_narrows_what_an_assistant_reads_and_never_widens_it(gateway, behind):
    await gateway.assistants.put(system("acme", "test"), Assistant("sales", sources=("wiki",)))
    behind.passages = [
        retrieve_pb.Passage(chunk_id="a", source_id="s1", source_name="wiki", text="One."),
        retrieve_pb.Passage(chunk_id="b", source_id="s2", source_name="hr", text="Two."),
    ]
    asked = retrieve_pb.RetrieveFilter(sources=["s1", "s2"])
    events = await gateway.events(assistant="sales", filter=asked)
    assert list(behind.requests[0].filter.sources) == ["s1", "s2"]
    assert [passage.chunk_id for passage in last(events, "retrieval_done").passages] == ["a"]
    assert len(behind.requests[-1].passages) == 1


async def test_an_assistant_without_retrieval_still_says_that_retrieval_is_done(gateway, behind):
    await gateway.assistants.put(system("acme", "test"), Assistant("chat", without_retrieval=True))
    events = await gateway.events(assistant="chat")
    assert kinds(events)[0] == "retrieval_done"
    assert not events[0].retrieval_done.passages
    assert len(behind.requests) == 1


async def test_another_tenants_assistant_does_not_exist(gateway):
    await gateway.assistants.put(system("rival", "test"), Assistant("sales"))
    assert await refused(gateway, assistant="sales") == (grpc.StatusCode.NOT_FOUND, "ASSISTANT_NOT_FOUND")


async def test_an_error_of_the_engine_passes_through_with_its_details(gateway, behind):
    behind.error = EngineBusy("too many wait", waiting=8)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.events()
    status = rpc_status.from_call(caught.value)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (info.reason, dict(info.metadata), retry.retry_delay.seconds) == ("ENGINE_BUSY", {"waiting": "8"}, 2)


async def test_an_unknown_error_behind_shows_nothing_of_itself(gateway, behind):
    behind.error = RuntimeError("secret")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.events()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_a_service_that_is_away_is_named_and_its_address_is_not(starting, behind, log):
    async with starting(behind, log, address="127.0.0.1:1") as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.events()
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert "127.0.0.1" not in caught.value.details()


async def test_the_engine_stops_when_the_caller_goes_away(gateway, behind, log):
    behind.hangs = True
    call = gateway.asking.Ask(pb.AskRequest(question="Hello?"), metadata=await gateway.signed_in())
    async for event in call:
        if event.WhichOneof("event") == "token_delta":
            break
    call.cancel()
    await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)
    assert not log.records


async def test_the_engine_stops_when_the_callers_channel_breaks(gateway, behind):
    behind.hangs = True
    call = gateway.asking.Ask(pb.AskRequest(question="Hello?"), metadata=await gateway.signed_in())
    while (await call.read()).WhichOneof("event") != "token_delta":
        pass
    await gateway.channel.close()
    await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)
    assert behind.cancelled.is_set()


async def test_a_deadline_of_50_ms_ends_the_answer_and_the_engines_work(gateway, behind):
    behind.hangs = True
    metadata = await gateway.signed_in()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in gateway.asking.Ask(pb.AskRequest(question="Hello?"), metadata=metadata, timeout=0.05):
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    if any(type(request).__name__ == "GenerateRequest" for request in behind.requests):
        await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)


async def test_a_search_passes_on_what_it_was_asked_and_what_it_found(gateway, behind):
    asked = pb.SearchRequest(query="returns", top_k=3, filter=retrieve_pb.RetrieveFilter(sources=["wiki"]))
    found = await gateway.asking.Search(asked, metadata=await gateway.signed_in())
    (request,) = behind.requests
    assert (request.query, request.top_k, list(request.filter.sources)) == ("returns", 3, ["wiki"])
    assert ([passage.chunk_id for passage in found.passages], found.index_version) == (["c1", "c2"], "v1")


async def test_a_search_may_try_another_tuning_and_fewer_steps(gateway, behind):
    tuning = Tuning(dense_share=0.3, rerank_off=True)
    asked = pb.SearchRequest(query="returns", steps=1, widen=True, tuning=tuning)
    await gateway.asking.Search(asked, metadata=await gateway.signed_in())
    (request,) = behind.requests
    assert (request.steps, request.widen, request.tuning) == (1, True, tuning)


async def test_a_rating_is_passed_on(gateway, behind):
    rating = pb.RateRequest(answer_id="x", thumb=THUMB_UP, comment="Good", correction="Better")
    kept = await gateway.asking.Rate(rating, metadata=await gateway.signed_in())
    (request,) = behind.requests
    assert kept.rating_id == "r1"
    assert (request.answer_id, request.thumb, request.comment, request.correction) == ("x", THUMB_UP, "Good", "Better")


async def test_a_slow_reader_still_gets_the_whole_answer(gateway, behind):
    behind.pieces = tuple(f"word{number} " for number in range(300))
    text = ""
    call = rpc.GatewayServiceStub(gateway.channel).Ask(
        pb.AskRequest(question="Hello?"), metadata=await gateway.signed_in()
    )
    async for event in call:
        text += event.token_delta.text
        await asyncio.sleep(0)
    assert text == "".join(behind.pieces)


CHECKS = Checks(thresholds=Thresholds(0.5, 0.6), languages=("en", "fr"))


async def test_a_citation_names_the_chunks_version_and_the_documents_characters(gateway, behind):
    behind.passages[1].document_id, behind.passages[1].document_version = "d2", 7
    behind.passages[1].start_offset, behind.passages[1].end_offset = 100, 150
    (citation,) = last(await gateway.events(), "citations").citations
    assert (citation.chunk_id, citation.document_id, citation.document_version) == ("c2", "d2", 7)
    assert (citation.start_offset, citation.end_offset) == (100, 136)


async def test_what_no_passage_supports_is_marked_with_the_reason_and_not_hidden(gateway, behind, log):
    behind.pieces = ("Returns are accepted within 30 days. ", "Orders above 60 ship free.")
    events = await gateway.events()
    citations = last(events, "citations")
    (unsupported,) = citations.unsupported
    assert answer_of(events)[unsupported.answer_start : unsupported.answer_end] == "Orders above 60 ship free."
    assert unsupported.reason == pb.UNSUPPORTED_REASON_NUMBER_DIFFERS
    assert (citations.supported_share, citations.sentences) == (0.5, 2)
    kept = Interaction.FromString(log.records[0][2])
    assert (kept.supported_share, kept.sentences, kept.abstained) == (0.5, 2, False)
    assert [(cited.passage_index, cited.answer_end) for cited in kept.citations] == [(1, 36)]


async def test_where_the_passages_do_not_tell_the_engine_is_not_asked(starting, behind, log):
    async with starting(behind, log, checks=CHECKS) as gateway:
        events = await gateway.events(question="Who wrote Hamlet?")
    assert kinds(events) == ["retrieval_done", "abstained", "token_delta", "citations", "usage", "end"]
    abstained = last(events, "abstained")
    assert (abstained.reason, abstained.late) == (pb.ABSTENTION_REASON_LITTLE_EVIDENCE, False)
    assert list(abstained.nearest) == [0, 1]
    assert answer_of(events).startswith("I don't find an answer")
    assert not last(events, "citations").unsupported
    assert not any(isinstance(request, generate_pb.GenerateRequest) for request in behind.requests)
    kept = Interaction.FromString(log.records[0][2])
    assert kept.abstained
    assert [(passage.chunk_id, passage.cited) for passage in kept.passages] == [("c1", False), ("c2", False)]


async def test_it_is_said_in_the_questions_language(starting, behind, log):
    async with starting(behind, log, checks=CHECKS) as gateway:
        events = await gateway.events(question="Qui a écrit la pièce de théâtre qui s'appelle Hamlet ?")
    assert answer_of(events).startswith("Je ne trouve pas la réponse")


async def test_where_nothing_is_found_nothing_is_offered(starting, behind, log):
    behind.passages = []
    async with starting(behind, log, checks=CHECKS) as gateway:
        events = await gateway.events(question="Who wrote Hamlet?")
    assert last(events, "abstained").reason == pb.ABSTENTION_REASON_NO_PASSAGES
    assert answer_of(events) == "I don't find an answer to this in the documents."


async def test_a_model_that_says_that_it_does_not_know_has_abstained_after_its_text(starting, behind, log):
    behind.pieces = ("The passages do not ", "mention the price.")
    async with starting(behind, log, checks=CHECKS) as gateway:
        events = await gateway.events(question="Are returns accepted within 30 days?")
    assert kinds(events)[-4:] == ["citations", "abstained", "usage", "end"]
    abstained = last(events, "abstained")
    assert (abstained.reason, abstained.late) == (pb.ABSTENTION_REASON_MODEL, True)
    assert Interaction.FromString(log.records[0][2]).abstained


async def test_an_assistant_that_requires_support_says_when_there_is_none(starting, behind, log):
    behind.pieces = ("The moon is made of green cheese.",)
    async with starting(behind, log, checks=CHECKS) as gateway:
        required = Assistant("strict", citation_policy=CitationPolicy.REQUIRE)
        await gateway.assistants.put(system("acme", "test"), required)
        events = await gateway.events(assistant="strict", question="Are returns accepted within 30 days?")
    assert last(events, "abstained").reason == pb.ABSTENTION_REASON_UNSUPPORTED


async def test_an_assistant_may_answer_whatever_the_passages_tell(starting, behind, log):
    async with starting(behind, log, checks=CHECKS) as gateway:
        await gateway.assistants.put(system("acme", "test"), Assistant("chat", without_abstention=True))
        events = await gateway.events(assistant="chat", question="Who wrote Hamlet?")
    assert "abstained" not in kinds(events)


@pytest.mark.parametrize(
    ("languages", "wanted"), [((), "fr"), (("fr", "en"), "fr"), (("de", "en"), "de"), (("en",), "en")]
)
async def test_the_answer_is_asked_for_in_the_questions_language_or_the_assistants_first(
    starting, behind, log, languages, wanted
):
    async with starting(behind, log, checks=Checks(languages=("en", "fr"))) as gateway:
        await gateway.assistants.put(system("acme", "test"), Assistant("poly", languages=languages))
        await gateway.events(assistant="poly", question="Jusqu'à quand puis-je vous retourner un article acheté ?")
    assert behind.requests[-1].language == wanted


@pytest.mark.parametrize("offsets", [(0, 0), (5, 5), (10, 5), (0, 2**31 - 1)])
async def test_offsets_that_cannot_be_true_break_nothing(gateway, behind, offsets):
    behind.passages[1].start_offset, behind.passages[1].end_offset = offsets
    assert len(last(await gateway.events(), "citations").citations) == 1
