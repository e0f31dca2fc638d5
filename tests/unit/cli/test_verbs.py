"""Verbs against a gateway that gives fixed answers: what people see, what programs get, and the exit code."""

import json
from collections.abc import Iterator
from concurrent import futures

import grpc
import jwt
import pytest
from tandem.feedback.v1 import events_pb2, feedback_service_pb2, feedback_service_pb2_grpc
from tandem.gateway.v1 import gateway_service_pb2, gateway_service_pb2_grpc
from tandem.ingest.v1 import (
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    secret_service_pb2,
    secret_service_pb2_grpc,
)
from tandem.retrieve.v1 import retrieve_service_pb2
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program

KEY = "the key, which is as long as keys are"


class FixedSources(ingest_service_pb2_grpc.IngestServiceServicer):
    """Gives one source after the other, the last for ever."""

    def __init__(self) -> None:
        self.sources: list[ingest_service_pb2.Source] = []
        self.created: ingest_service_pb2.CreateSourceRequest | None = None

    def CreateSource(self, request, context):
        self.created = request
        return ingest_service_pb2.CreateSourceResponse(source=ingest_service_pb2.Source(name=request.name))

    def GetSource(self, request, context):
        return ingest_service_pb2.GetSourceResponse(source=self._next())

    def ListSources(self, request, context):
        """One source a page, so that paging is seen."""
        if request.page_token:
            return ingest_service_pb2.ListSourcesResponse(sources=[self._next()])
        first = ingest_service_pb2.Source(name="first", kind="push", state=ingest_service_pb2.SOURCE_STATE_ACTIVE)
        return ingest_service_pb2.ListSourcesResponse(sources=[first], next_page_token="next")

    def _next(self) -> ingest_service_pb2.Source:
        return self.sources.pop(0) if len(self.sources) > 1 else self.sources[0]

    def SetSourceReaders(self, request, context):
        self.source_readers = request
        changed = ingest_service_pb2.Source(name=request.source, readers=request.readers or ["user:owner"])
        return ingest_service_pb2.SetSourceReadersResponse(source=changed, changed=3)

    def SetSourceChunking(self, request, context):
        self.chunking = request
        changed = ingest_service_pb2.Source(name=request.source, chunking=request.chunking)
        return ingest_service_pb2.SetSourceChunkingResponse(source=changed, changed=2)

    def SetDocumentReaders(self, request, context):
        self.document_readers = request
        unknown = [document.external_id for document in request.documents if document.external_id == "unknown"]
        return ingest_service_pb2.SetDocumentReadersResponse(changed=1, unknown_external_ids=unknown)

    def ListDocuments(self, request, context):
        """Two documents a page, for ever."""
        start = int(request.page_token or 0)
        found = [
            ingest_service_pb2.Document(external_id=str(number), readers=["user:ada"], reader_count=2000)
            for number in (start, start + 1)
        ]
        return ingest_service_pb2.ListDocumentsResponse(documents=found, next_page_token=str(start + 2))


class FixedSecrets(secret_service_pb2_grpc.SecretServiceServicer):
    """Keeps the last secret."""

    def __init__(self) -> None:
        self.put: secret_service_pb2.PutSecretRequest | None = None
        self.deleted = ""

    def PutSecret(self, request, context):
        self.put = request
        return secret_service_pb2.PutSecretResponse(secret=secret_service_pb2.Secret(name=request.name, key_id="k1"))

    def ListSecrets(self, request, context):
        return secret_service_pb2.ListSecretsResponse(secrets=[secret_service_pb2.Secret(name="crm", key_id="k1")])

    def DeleteSecret(self, request, context):
        self.deleted = request.name
        return secret_service_pb2.DeleteSecretResponse()


class FixedAnswers(gateway_service_pb2_grpc.GatewayServiceServicer):
    """Streams fixed events, and keeps what it was asked."""

    def __init__(self) -> None:
        self.events: list[gateway_service_pb2.AskResponse] = []
        self.asked: gateway_service_pb2.AskRequest | None = None
        self.authorization = ""

    def Ask(self, request, context):
        self.asked = request
        self.authorization = dict(context.invocation_metadata())["authorization"]
        yield from self.events

    def Search(self, request, context):
        return gateway_service_pb2.SearchResponse(passages=self.events[0].retrieval_done.passages)


class FixedAccess(gateway_service_pb2_grpc.AccessServiceServicer):
    """Keeps what it was asked, and with which metadata."""

    def CreateApiKey(self, request, context):
        self.created = request
        return gateway_service_pb2.CreateApiKeyResponse(secret="tk_x_y")

    def GetCaller(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        return gateway_service_pb2.GetCallerResponse(subject="user:ada", principals=["everyone", "user:ada"])


class FixedAssistants(gateway_service_pb2_grpc.AssistantServiceServicer):
    """Keeps what it was asked, and has three versions of what was put."""

    def __init__(self) -> None:
        self.request = None

    def PutAssistant(self, request, context):
        self.request = request
        self.kept = gateway_service_pb2.Assistant(version=3)
        self.kept.MergeFrom(request.assistant)
        return gateway_service_pb2.PutAssistantResponse(assistant=self.kept)

    def GetAssistant(self, request, context):
        self.request = request
        return gateway_service_pb2.GetAssistantResponse(assistant=self.kept)

    def ListAssistantVersions(self, request, context):
        number = int(request.page_token or 3)
        one = gateway_service_pb2.Assistant(name=request.name, version=number, instructions=f"Say {number}.")
        token = str(number - 1) if number > 1 else ""
        return gateway_service_pb2.ListAssistantVersionsResponse(assistants=[one], next_page_token=token)

    def RollbackAssistant(self, request, context):
        self.request = request
        back = gateway_service_pb2.Assistant(name=request.name, version=4)
        return gateway_service_pb2.RollbackAssistantResponse(assistant=back)

    def DeleteAssistant(self, request, context):
        self.request = request
        return gateway_service_pb2.DeleteAssistantResponse()


class FixedFeedback(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """Gives pages of two interactions or conversations, for ever."""

    def ListConversations(self, request, context):
        start = int(request.page_token or 0)
        found = [
            feedback_service_pb2.Conversation(conversation_id=f"c{number}", title=f"Title {number}?", turns=2)
            for number in (start, start + 1)
        ]
        found[1].withheld, found[1].title = True, ""
        return feedback_service_pb2.ListConversationsResponse(conversations=found, next_page_token=str(start + 2))

    def GetConversation(self, request, context):
        told = events_pb2.Interaction(question=f"Who in {request.conversation_id}?", answer="Ada.")
        withheld = events_pb2.Interaction(withheld=True)
        return feedback_service_pb2.GetConversationResponse(interactions=[told, withheld][: request.max_turns])

    def DeleteConversation(self, request, context):
        return feedback_service_pb2.DeleteConversationResponse(removed=2)

    def ListInteractions(self, request, context):
        start = int(request.page_token or 0)
        found = [events_pb2.Interaction(interaction_id=str(number)) for number in (start, start + 1)]
        return feedback_service_pb2.ListInteractionsResponse(interactions=found, next_page_token=str(start + 2))


class Fixed:
    """A gateway with fixed answers, and the command that calls it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sources = FixedSources()
        self.answers = FixedAnswers()
        self.secrets = FixedSecrets()
        self.access = FixedAccess()
        self.assistants = FixedAssistants()

    def __call__(self, *arguments: str, typed: bytes = b""):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": self.address, "TANDEM_API_KEY": KEY, "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, list(arguments), input=typed)


@pytest.fixture
def tandem() -> Iterator[Fixed]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    fixed = Fixed(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(fixed.sources, server)
    secret_service_pb2_grpc.add_SecretServiceServicer_to_server(fixed.secrets, server)
    gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(fixed.answers, server)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(FixedFeedback(), server)
    gateway_service_pb2_grpc.add_AccessServiceServicer_to_server(fixed.access, server)
    gateway_service_pb2_grpc.add_AssistantServiceServicer_to_server(fixed.assistants, server)
    server.start()
    yield fixed
    server.stop(None).wait()


def source(**counts: int) -> ingest_service_pb2.Source:
    made = ingest_service_pb2.Source(name="wiki", kind="files", state=ingest_service_pb2.SOURCE_STATE_ACTIVE)
    made.counts.MergeFrom(ingest_service_pb2.SourceCounts(**counts))
    made.last_sync_at.FromSeconds(1)
    return made


def whole_answer() -> list[gateway_service_pb2.AskResponse]:
    passages = [
        retrieve_service_pb2.Passage(title="Prices", uri="https://example.com/prices", headings=["Kettles"], score=0.5),
        retrieve_service_pb2.Passage(title="Warranty", uri="file:///docs/the%20warranty.pdf", page=3, score=0.25),
    ]
    pb = gateway_service_pb2
    cited = [pb.Citation(number=2, passage_index=0), pb.Citation(number=1, passage_index=1), pb.Citation(number=1)]
    cited[2].passage_index = 1
    return [
        pb.AskResponse(retrieval_done=pb.RetrievalDone(passages=passages)),
        pb.AskResponse(token_delta=pb.TokenDelta(text="Nine ")),
        pb.AskResponse(token_delta=pb.TokenDelta(text="years.\x1b[31m")),
        pb.AskResponse(citations=pb.Citations(citations=cited)),
        pb.AskResponse(usage=pb.Usage(completion_tokens=5, first_token_ms=40, total_ms=90)),
        pb.AskResponse(end=pb.End(answer_id="signed", conversation_id="c1")),
    ]


def test_an_answer_is_followed_by_each_cited_passage_once_in_order(tandem: Fixed):
    tandem.answers.events = whole_answer()
    shown = tandem("ask", "How long?", "--conversation", "c1", "--top-k", "3", "--max-tokens", "9")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == "Nine years.[31m"
    assert lines[1] == "[1] Warranty · /docs/the warranty.pdf · page 3 · score 0.250"
    assert lines[2] == "[2] Prices · https://example.com/prices · Kettles · score 0.500"
    assert "signed" in lines[3]
    assert "first token 40 ms" in lines[3]
    asked = tandem.answers.asked
    assert asked is not None
    assert (asked.conversation_id, asked.top_k, asked.sampling.max_tokens) == ("c1", 3, 9)
    assert tandem.answers.authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("options", "override"),
    [
        ((), None),
        (("--adapter", "candidate"), gateway_service_pb2.Override(adapter="candidate")),
        (("--base-model",), gateway_service_pb2.Override(base_model=True)),
        (("--no-retrieval",), gateway_service_pb2.Override(without_retrieval=True)),
    ],
)
def test_a_question_may_be_answered_otherwise_than_the_assistant_answers(tandem: Fixed, options, override):
    tandem.answers.events = whole_answer()
    assert tandem("ask", "How long?", *options).exit_code == 0
    asked = tandem.answers.asked
    assert (asked.override if asked.HasField("override") else None) == override


def test_what_a_follow_up_was_asked_as_is_shown_before_its_answer(tandem: Fixed):
    rewritten = gateway_service_pb2.Rewritten(standalone_question="How long is the K2's warranty?")
    tandem.answers.events = [gateway_service_pb2.AskResponse(rewritten=rewritten), *whole_answer()]
    assert tandem("ask", "And its warranty?").stdout.startswith("asked as: How long is the K2's warranty?\nNine years.")


def test_an_answer_is_one_event_a_line_for_programs(tandem: Fixed):
    tandem.answers.events = whole_answer()
    lines = [json.loads(line) for line in tandem("ask", "How long?", "--json").stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        *("retrieval_done", "token_delta", "token_delta", "citations", "usage", "end")
    ]
    assert lines[-1]["answer_id"] == "signed"


def test_passages_found_are_numbered(tandem: Fixed):
    tandem.answers.events = whole_answer()
    assert " 2. Warranty · /docs/the warranty.pdf" in tandem("search", "how long").stdout
    assert len(json.loads(tandem("search", "how long", "--json").stdout)["passages"]) == 2


def test_wait_ends_when_nothing_is_pending(tandem: Fixed):
    tandem.sources.sources = [source(pending=2), source(pending=1, indexed=1), source(indexed=2, chunks=7)]
    waited = tandem("wait")
    assert waited.exit_code == 0
    assert "indexed: 2 documents, 7 chunks" in waited.stdout


def test_wait_waits_for_the_first_sync(tandem: Fixed):
    unread = source()
    unread.ClearField("last_sync_at")
    tandem.sources.sources = [unread, source(indexed=1)]
    assert "indexed: 1 document," in tandem("wait", "--source", "wiki").stdout


def test_wait_says_how_many_failed(tandem: Fixed):
    tandem.sources.sources = [source(indexed=2, failed=3)]
    waited = tandem("wait", "--source", "wiki")
    assert waited.exit_code == 0
    assert "failed: 3 documents" in waited.stdout


def test_wait_gives_up_when_the_time_is_over(tandem: Fixed):
    tandem.sources.sources = [source(pending=4, indexed=2, failed=1)]
    waited = tandem("wait", "--source", "wiki", "--timeout", "0.1", "--json")
    assert waited.exit_code == 1
    error = json.loads(waited.stdout)["error"]
    assert error["reason"] == "NOT_INDEXED_IN_TIME"
    assert (error["facts"]["pending"], error["facts"]["failed"]) == (4, 1)


def test_wait_does_not_wait_for_a_source_that_cannot_be_read(tandem: Fixed):
    gone = source()
    gone.last_sync_error = "the folder has gone"
    tandem.sources.sources = [gone]
    waited = tandem("wait", "--source", "wiki")
    assert waited.exit_code == 1
    assert "the folder has gone" in waited.stderr


def test_an_empty_folder_is_said_to_be_empty(tandem: Fixed):
    tandem.sources.sources = [source()]
    assert "source wiki holds no documents" in tandem("wait", "--source", "wiki").stdout


def test_lists_are_read_to_their_last_page(tandem: Fixed):
    tandem.sources.sources = [source()]
    listed = json.loads(tandem("source", "list", "--json").stdout)["sources"]
    assert [each["name"] for each in listed] == ["first", "wiki"]


def test_a_limit_ends_a_list_that_has_no_end(tandem: Fixed):
    listed = json.loads(tandem("interactions", "--limit", "5", "--json").stdout)["interactions"]
    assert [each["interaction_id"] for each in listed] == ["0", "1", "2", "3", "4"]


def test_a_folder_is_added_by_its_absolute_path_for_who_adds_it_and_watched(tandem: Fixed, tmp_path, monkeypatch):
    (tmp_path / "wiki").mkdir()
    monkeypatch.chdir(tmp_path)
    assert tandem("source", "add", "files", "wiki", "--exclude", "*.tmp", "--exclude", "old/**").exit_code == 0
    request = tandem.sources.created
    assert request is not None
    assert (request.name, request.kind, list(request.readers)) == ("wiki", "files", [])
    assert request.files.path == str(tmp_path / "wiki")
    assert request.files.watch
    assert list(request.files.exclude) == ["*.tmp", "old/**"]
    assert request.request_id


def test_readers_and_watching_are_chosen(tandem: Fixed, tmp_path):
    arguments = ("--name", "hr", "--no-watch", "--readers", "group:hr", "--readers", "user:ada")
    assert tandem("source", "add", "files", str(tmp_path), *arguments).exit_code == 0
    request = tandem.sources.created
    assert request is not None
    assert (request.name, request.files.watch, list(request.readers)) == ("hr", False, ["group:hr", "user:ada"])


def test_the_readers_of_a_source_are_set_and_none_are_its_owner(tandem: Fixed):
    set_readers = tandem("source", "readers", "hr", "--readers", "group:hr", "--readers", "user:ada")
    assert list(tandem.sources.source_readers.readers) == ["group:hr", "user:ada"]
    assert "source hr: group:hr, user:ada; 3 documents changed" in set_readers.stdout
    assert json.loads(tandem("source", "readers", "hr", "--json").stdout)["changed"] == 3
    assert list(tandem.sources.source_readers.readers) == []


def test_how_documents_are_cut_is_chosen_for_a_source_and_changed(tandem: Fixed, tmp_path):
    chosen = ("--chunking", "fixed", "--chunk-tokens", "128", "--overlap-tokens", "0")
    assert tandem("source", "add", "files", str(tmp_path), *chosen).exit_code == 0
    cut = tandem.sources.created.chunking
    assert (cut.strategy, cut.chunk_tokens, cut.HasField("overlap_tokens")) == ("fixed", 128, True)
    changed = tandem("source", "rechunk", "apps", "--chunking", "turns")
    assert "source apps: 2 documents to be cut again" in changed.stdout
    assert (tandem.sources.chunking.chunking.strategy, tandem.sources.chunking.chunking.HasField("overlap_tokens")) == (
        "turns",
        False,
    )
    assert tandem("source", "rechunk", "apps").exit_code == 0
    assert not tandem.sources.chunking.HasField("chunking")


def test_documents_are_listed_with_the_first_of_their_readers(tandem: Fixed):
    assert "user:ada and 1999 more" in tandem("document", "list", "--limit", "1").stdout
    listed = json.loads(tandem("document", "list", "--limit", "3", "--json").stdout)["documents"]
    assert [(each["external_id"], each["reader_count"]) for each in listed] == [("0", 2000), ("1", 2000), ("2", 2000)]


def test_the_readers_of_a_document_are_set_and_an_unknown_one_is_an_error(tandem: Fixed):
    assert tandem("document", "readers", "apps", "ticket-1", "--readers", "user:ada").exit_code == 0
    (document,) = tandem.sources.document_readers.documents
    assert (document.external_id, list(document.readers)) == ("ticket-1", ["user:ada"])
    unknown = tandem("document", "readers", "apps", "unknown", "--json")
    assert unknown.exit_code == 1
    assert json.loads(unknown.stdout)["error"]["reason"] == "DOCUMENT_NOT_FOUND"


def test_a_secret_is_read_from_the_input_or_a_file_and_never_shown(tandem: Fixed, tmp_path):
    typed = tandem("secret", "put", "crm", typed=b"hush\n")
    assert tandem.secrets.put is not None
    assert (tandem.secrets.put.name, tandem.secrets.put.value) == ("crm", b"hush")
    (tmp_path / "value").write_bytes(b"\x00\xff quiet")
    kept = tandem("secret", "put", "crm", "--file", str(tmp_path / "value"), "--json")
    assert tandem.secrets.put.value == b"\x00\xff quiet"
    assert "hush" not in typed.output
    assert json.loads(kept.stdout)["secret"] == {"name": "crm", "key_id": "k1"}


def test_secrets_are_listed_by_name_and_removed(tandem: Fixed):
    assert json.loads(tandem("secret", "list", "--json").stdout)["secrets"][0]["name"] == "crm"
    assert "crm" in tandem("secret", "list").stdout
    assert tandem("secret", "delete", "crm").exit_code == 0
    assert tandem.secrets.deleted == "crm"


def test_an_assistant_is_made_as_the_options_say(tandem: Fixed):
    narrowing = ("--kind", "page", "--author", "Ada", "--metadata", "team=blue", "--metadata", "floor=3")
    manner = ("--language", "fr", "--language", "en", "--length", "long", "--citations", "require", "--no-abstain")
    put = tandem("assistant", "put", "sales", "--source", "wiki", *narrowing, *manner, "--if-version", "2")
    assert "assistant sales is kept (version 3)" in put.stdout
    request = tandem.assistants.request
    assert (request.expected_version, list(request.assistant.languages)) == (2, ["fr", "en"])
    assert (request.assistant.answer_length, request.assistant.citation_policy) == (3, 1)
    assert request.assistant.without_abstention
    assert list(request.assistant.filter.kinds) == ["page"]
    assert dict(request.assistant.filter.metadata) == {"team": "blue", "floor": 3.0}


def test_an_assistant_is_put_whatever_its_version_where_none_is_named(tandem: Fixed):
    assert tandem("assistant", "put", "sales").exit_code == 0
    assert not tandem.assistants.request.HasField("expected_version")
    assert not tandem.assistants.request.assistant.filter.kinds


def test_metadata_without_a_value_is_an_error(tandem: Fixed):
    put = tandem("assistant", "put", "sales", "--metadata", "team", "--json")
    assert put.exit_code == 1
    assert json.loads(put.stdout)["error"]["reason"] == "INVALID_METADATA"


def test_an_assistant_is_shown_with_everything_that_it_is(tandem: Fixed):
    tandem("assistant", "put", "sales", "--instructions", "Be brief.", "--kind", "page")
    shown = tandem("assistant", "show", "sales", "--version", "3")
    assert (tandem.assistants.request.name, tandem.assistants.request.version) == ("sales", 3)
    assert "Be brief." in shown.stdout
    assert '"kinds": ["page"]' in shown.stdout


def test_versions_are_listed_and_an_old_one_is_brought_back(tandem: Fixed):
    listed = json.loads(tandem("assistant", "versions", "sales", "--json").stdout)["versions"]
    assert [each["instructions"] for each in listed] == ["Say 3.", "Say 2.", "Say 1."]
    assert "assistant sales is kept (version 4)" in tandem("assistant", "rollback", "sales", "2").stdout
    assert (tandem.assistants.request.version, tandem.assistants.request.HasField("expected_version")) == (2, False)
    assert "out of use" in tandem("assistant", "delete", "sales").stdout


def test_conversations_are_listed_shown_and_deleted(tandem: Fixed):
    listed = tandem("conversation", "list", "--limit", "3").stdout
    assert "Title 0?" in listed
    assert "withheld" in listed
    rows = json.loads(tandem("conversation", "list", "--limit", "3", "--json").stdout)["conversations"]
    assert [row["conversation_id"] for row in rows] == ["c0", "c1", "c2"]
    shown = tandem("conversation", "show", "c7").stdout
    assert "Who in c7?" in shown
    assert "may not be read any more" in shown
    assert "conversation c7 is gone (2 turns)" in tandem("conversation", "delete", "c7").stdout


def test_a_key_is_made_for_what_the_options_say(tandem: Fixed):
    arguments = ("--role", "reader", "--role", "trainer", "--expires", "2099-01-02", "--acts-for-users")
    assert tandem("key", "create", "--name", "app", *arguments).exit_code == 0
    request = tandem.access.created
    assert (list(request.roles), request.acts_for_users) == ([1, 4], True)
    assert request.expires_at.ToJsonString() == "2099-01-02T00:00:00Z"


def test_a_call_on_behalf_of_a_user_carries_an_assertion_that_the_key_has_signed(tandem: Fixed):
    assert json.loads(tandem("whoami", "--on-behalf-of", "ada", "--json").stdout)["subject"] == "user:ada"
    carried = tandem.access.metadata["tandem-on-behalf-of"]
    claims = jwt.decode(carried, KEY, algorithms=["HS256"], audience="tandem")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("ada", 60)
    tandem("whoami")
    assert "tandem-on-behalf-of" not in tandem.access.metadata
