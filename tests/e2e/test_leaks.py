"""What people wrote or keep secret goes through a platform, well and badly, and nothing of it is written down.

What is looked through: logs, traces, metrics, state, command lines, every error, the audit log. External ids,
names of objects and principals are names, not texts, and are not looked for.
"""

import contextlib
import io
import json
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf.struct_pb2 import Struct
from tandem.common.v1 import access_pb2
from tandem.feedback.v1 import events_pb2, feedback_service_pb2
from tandem.gateway.v1 import audit_service_pb2 as audit_pb
from tandem.gateway.v1 import directory_service_pb2 as directory_pb
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import secret_service_pb2 as secret_pb
from tandem.ingest.v1 import secret_service_pb2_grpc as secret_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from tests.canaries import Canaries
from tests.e2e.tenants import Metadata, Tenant, bearer
from tests.messages import every_rpc, path_of
from tests.tandem_command import Tandem, home_in, kill_9
from tests.unit.embed import documents as made

pytestmark = pytest.mark.timeout(600)

VICTIMS = ("milvus", "postgres", "embed", "retrieve", "broker", "feedback")
AUDIENCE = "tandem"
EVERYTHING = audit_pb.ExportAuditEventsRequest()
BOMB_BYTES = 300_000_000


@dataclass
class World:
    """A platform, a tenant on it, what nobody may see, and every error that anybody was given."""

    tandem: Tandem
    traces: Path
    files: Path
    issuer: str
    private: rsa.RSAPrivateKey
    canaries: Canaries
    errors: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    audit: bytes = b""

    def __post_init__(self) -> None:
        self.tenant = Tenant(self.tandem, "acme")
        self.poor = Tenant(self.tandem, "poor")
        self.channel = grpc.insecure_channel(self.tandem.unit("gateway").address)
        self.assistants = rpc.AssistantServiceStub(self.channel)
        self.secrets = secret_rpc.SecretServiceStub(self.channel)

    def refused(self, method: Callable[..., Any], request: Any, metadata: Metadata | None = None) -> None:
        """Call what fails, and keep the error."""
        with pytest.raises(grpc.RpcError) as raised:
            self._whole(method, request, self.tenant.admin if metadata is None else metadata)
        self._keep(raised.value)

    def tried(self, method: Callable[..., Any], request: Any, metadata: Metadata | None = None) -> None:
        """Call what may fail."""
        try:
            self._whole(method, request, self.tenant.admin if metadata is None else metadata)
        except grpc.RpcError as error:
            self._keep(error)

    def command(self, *arguments: str, **environment: str) -> None:
        """Run a verb that fails, for people and for programs."""
        for more in ((), ("--json",)):
            done = self.tandem.run(*arguments, *more, **environment)
            assert done.returncode != 0, arguments
            self.outputs.append((done.stdout + done.stderr).encode())

    def written(self) -> dict[str, bytes]:
        """Return everything that the platform wrote, by where."""
        found = {str(path): path.read_bytes() for path in self.tandem.home.logs.iterdir()}
        assert {"gateway.log", "embed.log", "postgres.log"} <= {Path(path).name for path in found}
        traced = {str(path): path.read_bytes() for path in self.traces.iterdir()}
        assert all(traced.values())
        assert traced
        found |= traced
        found["platform.json"] = (self.tandem.home.root / "platform.json").read_bytes()
        found["command lines"] = b"\n".join(" ".join(each.cmdline()).encode() for each in self.tandem.living())
        for unit in self.tandem.state().units:
            if unit.metrics_address:
                with urllib.request.urlopen(f"http://{unit.metrics_address}/metrics", timeout=20) as answer:
                    found[f"metrics of {unit.name}"] = answer.read()
        found |= {"errors": b"\n".join(self.errors), "the command's errors": b"\n".join(self.outputs)}
        return found | {"audit log": self.audit}

    def token(self, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        own = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600}
        own["note"] = self.canaries.new("token's claim")
        return jwt.encode(own | claims, key or self.private, "RS256", {"kid": "one"})

    def _whole(self, method: Callable[..., Any], request: Any, metadata: Metadata) -> None:
        answer = method(request, metadata=tuple(metadata.items()), timeout=30)
        if not hasattr(answer, "DESCRIPTOR") and not isinstance(answer, bytes):
            list(answer)

    def _keep(self, error: Any) -> None:
        trailing = error.trailing_metadata() or ()
        more = [value if isinstance(value, bytes) else value.encode() for pair in trailing for value in pair]
        shown = (error.details() or "").encode()
        self.errors.append(b"\n".join((str(error.code()).encode(), shown, repr(error).encode(), *more)))


@pytest.fixture(scope="module")
def issuer() -> Iterator[tuple[str, rsa.RSAPrivateKey]]:
    """An issuer that publishes its key."""
    private = rsa.generate_private_key(65537, 2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    keys = json.dumps({"keys": [{**public, "kid": "one", "use": "sig"}]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(keys)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}", private
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, issuer: tuple[str, rsa.RSAPrivateKey]
) -> Iterator[World]:
    canaries, (url, private) = Canaries(), issuer
    traces = tmp_path_factory.mktemp("traces")
    folder = tmp_path_factory.mktemp("files") / canaries.new("folder")
    folder.mkdir()
    trusted = {"issuer": url, "audience": AUDIENCE, "tenant": "acme", "jwks_uri": f"{url}/keys"}
    away = {"issuer": "http://127.0.0.1:9", "audience": AUDIENCE, "tenant": "acme"}
    with home_in(tmp_path_factory.mktemp("leaks"), seconds=200) as command:
        command.up(
            *("--engine", "memory", "--cache", str(pytestconfig.cache.mkdir("tandem-models"))),
            TANDEM_LOG_LEVEL="debug",
            TANDEM_TRACES=f"file:{traces}",
            TANDEM_QUOTAS=json.dumps({"poor": {"requests_per_minute": 2, "documents": 1}}),
            GATEWAY_OIDC_ISSUERS=json.dumps([trusted, away]),
            # Canaries stand in no document, and are to reach the engine all the same.
            GATEWAY_ABSTAIN_BELOW="0",
        )
        yield World(command, traces, folder, url, private, canaries)


def test_no_text_no_secret_and_no_token_is_written_down(world: World):
    _know_what_the_platform_keeps(world)
    _live(world)
    _bring_bad_documents(world)
    _be_refused(world)
    _break_parts(world)
    _read_the_audit_log(world)
    leaks = world.canaries.leaks(world.written())
    assert not leaks, "\n".join(leaks)
    assert len(world.canaries.values) > 20
    assert len(world.errors) > 30


def _know_what_the_platform_keeps(world: World) -> None:
    home = world.tandem.home
    world.canaries.know("identity key", home.identity_key())
    [own] = json.loads(home.secrets_key_file().read_text()).values()
    world.canaries.know("key of secrets", own)
    credentials = home.credentials()
    assert credentials
    for name, secret in (
        ("first key", credentials.secret),
        ("admin's key", _secret_of(world.tenant.admin)),
        ("application's key", _secret_of(world.tenant.application)),
    ):
        world.canaries.know(name, _told_part_of(secret))


def _told_part_of(credential: str) -> str:
    """Return what follows the id of a key, which is no secret."""
    return credential.split("_", 2)[2]


def _secret_of(metadata: Metadata) -> str:
    return metadata["authorization"].removeprefix("Bearer ")


def _document(world: World, external_id: str = "one", **fields: Any) -> ingest_pb.PushedDocument:
    new = world.canaries.new
    metadata = Struct()
    metadata.update({"shelf": new("metadata"), new("metadata's key"): {"deep": [new("deep metadata")]}})
    own = {
        "title": f"About {new('title')}",
        "uri": f"https://wiki.example/{new('uri')}?token={new('token in a uri')}",
        "content": f"# {new('heading')}\n\nThe word is {new('text')}, said the kettle.".encode(),
        "metadata": metadata,
        "readers": ["everyone"],
    }
    return ingest_pb.PushedDocument(external_id=external_id, **own | fields)


def _pushing(*documents: ingest_pb.PushedDocument, source: str = "notes") -> ingest_pb.PushDocumentsRequest:
    return ingest_pb.PushDocumentsRequest(source=source, documents=documents)


def _filter(world: World) -> retrieve_pb.RetrieveFilter:
    metadata = Struct()
    metadata.update({"shelf": world.canaries.new("metadata")})
    return retrieve_pb.RetrieveFilter(sources=["notes"], metadata=metadata)


def _live(world: World) -> None:
    """Do what the platform is for."""
    tenant, new = world.tenant, world.canaries.new
    (world.files / f"{new('file name')}.md").write_text(f"# {new('heading in a file')}\n\n{new('text in a file')}")
    files = ingest_pb.FilesConfig(path=str(world.files), watch=True)
    source = ingest_pb.CreateSourceRequest(name="house", kind="files", files=files, readers=["everyone"])
    tenant.call(tenant.ingest.CreateSource, source)
    tenant.add_source("notes", "everyone")
    tenant.call(tenant.ingest.PushDocuments, _pushing(_document(world)))
    tenant.until(lambda: len(_settled(world)) == 2)

    person = directory_pb.User(user_id="ada", display_name=new("display name"))
    tenant.call(tenant.directory.PutUsers, directory_pb.PutUsersRequest(users=[person]))
    group = directory_pb.Group(group_id="staff", display_name=new("group's name"), members=["user:ada"])
    tenant.call(tenant.directory.PutGroups, directory_pb.PutGroupsRequest(groups=[group]))
    assistant = pb.Assistant(name="clerk", instructions=f"Say {new('instructions')}.")
    tenant.call(world.assistants.PutAssistant, pb.PutAssistantRequest(assistant=assistant))
    secret = secret_pb.PutSecretRequest(name="wiki", value=new("secret's value").encode())
    tenant.call(world.secrets.PutSecret, secret)

    ada = world.tenant.for_user("ada")
    world.canaries.know("assertion", ada["tandem-on-behalf-of"].rpartition(".")[2])
    tenant.call(tenant.gateway.Search, pb.SearchRequest(query=new("query"), filter=_filter(world)), ada)
    token = bearer(world.token())
    world.canaries.know("token's signature", _secret_of(token).rpartition(".")[2])
    tenant.call(tenant.gateway.Search, pb.SearchRequest(query=new("query of a user")), token)
    for question in (new("question"), new("next question")):
        answer_id = _asked(world, f"What is {question}?", ada)
    rating = pb.RateRequest(
        answer_id=answer_id, thumb=events_pb2.THUMB_DOWN, comment=new("comment"), correction=new("correction")
    )
    tenant.call(tenant.gateway.Rate, rating, ada)
    tenant.until(lambda: len(tenant.turns("talk", ada)) == 2)


def _asked(world: World, question: str, metadata: Metadata) -> str:
    request = pb.AskRequest(
        question=question, conversation_id="talk", assistant="clerk", filter=_filter(world), top_k=50
    )

    def whole(request: pb.AskRequest, **options: Any) -> list[pb.AskResponse]:
        return list(world.tenant.gateway.Ask(request, **options))

    return str(world.tenant.call(whole, request, metadata)[-1].end.answer_id)


def _settled(world: World) -> list[Any]:
    documents = world.tenant.call(world.tenant.ingest.ListDocuments, ingest_pb.ListDocumentsRequest()).documents
    return [each for each in documents if each.state != ingest_pb.DOCUMENT_STATE_PENDING]


def _bring_bad_documents(world: World) -> None:
    """Push and drop what no parser takes, and what looks like something else."""
    tenant, new = world.tenant, world.canaries.new
    text = new("text of a bad document")
    bad = {
        "encrypted.pdf": made.pdf(text, encrypt=True),
        "cut.pdf": made.pdf(text)[:-60],
        "broken.pdf": b"%PDF-1.7 " + text.encode(),
        "bomb.docx": _bomb(text),
        "broken.docx": made.docx(text)[:-30],
        "wrong.docx": made.archive({"word/document.xml": f"<{text}>"}),
        "broken.md": b"\xff\xfe\x00" + text.encode() + b"\xc3\x28",
        "binary.bin": b"\x00\x01\x02" + text.encode(),
        "empty.md": b" \n",
        "deep.json": b"[" * 3_000 + json.dumps(text).encode(),
        "broken.json": f'{{"{text}": '.encode(),
        "broken.csv": f'"{text}\n'.encode(),
        "broken.html": f"<html><a href='http://[{text}'><![if {text}><!-- ".encode(),
        "url.html": f"https://example.com/{text}".encode(),
        "mail.eml": f"From: {text}\nContent-Type: text/plain; charset={text}\n\n{text}".encode(),
    }
    documents = [_document(world, name, title=f"{text} {name}", content=content) for name, content in bad.items()]
    tenant.call(tenant.ingest.PushDocuments, _pushing(*documents))
    for name, content in bad.items():
        (world.files / f"{new('file name')}-{name}").write_bytes(content)
    tenant.call(tenant.ingest.SyncSource, ingest_pb.SyncSourceRequest(source="house"))
    tenant.until(lambda: not _pending(world))
    failed = [each for each in _settled(world) if each.state == ingest_pb.DOCUMENT_STATE_FAILED]
    assert {"ENCRYPTED_DOCUMENT", "MALFORMED_DOCUMENT"} <= {each.failure_reason for each in failed}
    # Why a document failed is said to all who may list it.
    world.errors += [f"{each.failure_reason} {each.failure_message}".encode() for each in failed]
    tenant.call(tenant.ingest.ReplayFailedDocuments, ingest_pb.ReplayFailedDocumentsRequest(source="notes"))


def _bomb(text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", text)
        with file.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(BOMB_BYTES // 1_000_000):
                part.write(b"0" * 1_000_000)
    return stream.getvalue()


def _be_refused(world: World) -> None:
    """Be refused for every reason that there is."""
    _without_a_good_credential(world)
    _without_a_right(world)
    _with_bad_requests(world)
    _at_the_command_line(world)


def _without_a_good_credential(world: World) -> None:
    tenant, new = world.tenant, world.canaries.new
    made = tenant.call(tenant.access.CreateApiKey, pb.CreateApiKeyRequest(name="gone"))
    world.canaries.know("revoked key", _told_part_of(made.secret))
    tenant.call(tenant.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
    tenant.until(lambda: not _passes(world, bearer(made.secret)))
    garbage, forger = new("garbage"), rsa.generate_private_key(65537, 1024)
    wrong = made.secret.removesuffix(_told_part_of(made.secret)) + garbage
    forged = world.token(forger)
    world.canaries.know("forged token's signature", forged.rpartition(".")[2])
    head, _, rest = world.token().partition(".")
    credentials = [
        made.secret,
        wrong,
        garbage,
        f"tk_{garbage}_{garbage}",
        forged,
        f"{garbage}.{garbage}.{garbage}",
        f"{head}.{garbage}{rest}",
        world.token(iss=f"https://{garbage}"),
        world.token(iss="http://127.0.0.1:9"),
        world.token(aud=garbage),
        world.token(exp=garbage),
        world.token(sub=""),
        world.token(exp=1),
        jwt.encode({"sub": garbage}, None, "none"),
    ]
    query = pb.SearchRequest(query=new("query"))
    for credential in credentials:
        world.refused(tenant.gateway.Search, query, bearer(credential))
    world.refused(tenant.gateway.Search, query, {"authorization": f"Basic {garbage}"})
    secret = _secret_of(tenant.application)
    for carried in (
        garbage,
        forged,
        jwt.encode({"sub": garbage}, garbage + garbage, "HS256"),
        jwt.encode({"sub": "ada", "exp": garbage}, secret, "HS256"),
        jwt.encode({"sub": {"no": garbage}}, secret, "HS256"),
    ):
        metadata = {**tenant.application, "tandem-on-behalf-of": carried}
        world.refused(tenant.gateway.Search, query, metadata)
    # Behind the gateway, identities are signed.
    for unit in world.tandem.state().units:
        if unit.metrics_address and unit.name != "gateway":
            channel = grpc.insecure_channel(unit.address)
            for method in every_rpc():
                call = channel.unary_unary(path_of(method))
                world.refused(call, b"\n\x20" + garbage.encode(), {"authorization": f"Bearer {garbage}"})
            channel.close()


def _passes(world: World, metadata: Metadata) -> bool:
    with contextlib.suppress(grpc.RpcError):
        world.tenant.access.GetCaller(pb.GetCallerRequest(), metadata=tuple(metadata.items()), timeout=20)
        return True
    return False


def _without_a_right(world: World) -> None:
    tenant, new = world.tenant, world.canaries.new
    made = tenant.call(tenant.access.CreateApiKey, pb.CreateApiKeyRequest(roles=[access_pb2.ROLE_READER], name="r"))
    reader = bearer(made.secret)
    world.refused(tenant.ingest.PushDocuments, _pushing(_document(world)), reader)
    world.refused(world.secrets.PutSecret, secret_pb.PutSecretRequest(value=new("secret's value").encode()), reader)
    rating = pb.RateRequest(comment=new("comment"), correction=new("correction"), answer_id=new("answer id"))
    world.refused(tenant.gateway.Rate, rating, reader)
    world.refused(tenant.gateway.Rate, rating)
    poor = world.poor
    poor.add_source("notes", "everyone")
    documents = [_document(world, str(number)) for number in range(3)]
    world.refused(poor.ingest.PushDocuments, _pushing(*documents), poor.admin)
    for _ in range(4):
        world.tried(poor.gateway.Search, pb.SearchRequest(query=new("query")), poor.admin)
    world.refused(poor.gateway.Search, pb.SearchRequest(query=new("query")), poor.admin)


def _with_bad_requests(world: World) -> None:
    tenant, new = world.tenant, world.canaries.new
    text = new("text of a bad request")
    for method in every_rpc():
        kind = world.channel.unary_stream if method.server_streaming else world.channel.unary_unary
        for body in (b"\xff\xff" + text.encode(), b"\n\xff" + text.encode(), b"\n\x10" + text[:15].encode() + b"\xff"):
            world.tried(kind(path_of(method)), body)
    odd = Struct()
    odd.update({text: {"deep": [text]}, "list": [text]})
    filters = (
        retrieve_pb.RetrieveFilter(metadata=odd),
        retrieve_pb.RetrieveFilter(sources=[text] * 101),
        retrieve_pb.RetrieveFilter(metadata=_strange(text)),
    )
    for narrowed in filters:
        world.tried(tenant.gateway.Search, pb.SearchRequest(query=text, filter=narrowed))
        world.tried(tenant.gateway.Ask, pb.AskRequest(question=text, filter=narrowed))
    world.refused(tenant.gateway.Search, pb.SearchRequest(query=text * 1000))
    world.refused(tenant.gateway.Ask, pb.AskRequest(question=text, conversation_id=f"{text} !"))
    world.refused(tenant.gateway.Ask, pb.AskRequest(question=text, top_k=-1))
    strange = {"title": f"\0{text}\x1b[31m\u202e", "uri": f"javascript:{text}\0", "media_type": "no/such\0"}
    world.tried(tenant.ingest.PushDocuments, _pushing(_document(world, "odd", **strange, metadata=_strange(text))))
    world.tried(tenant.ingest.PushDocuments, _pushing(_document(world, "long", title=text * 5000, uri=text * 5000)))
    world.refused(tenant.ingest.PushDocuments, _pushing(_document(world, "", title=text)))
    assistant = pb.Assistant(name="bad name!", instructions=text * 10_000)
    world.refused(world.assistants.PutAssistant, pb.PutAssistantRequest(assistant=assistant))
    world.refused(world.secrets.PutSecret, secret_pb.PutSecretRequest(name="!", value=text.encode()))
    world.refused(world.secrets.PutSecret, secret_pb.PutSecretRequest(name="long", value=text.encode() * 100_000))
    person = directory_pb.User(user_id="", display_name=text * 1000)
    world.refused(tenant.directory.PutUsers, directory_pb.PutUsersRequest(users=[person]))
    rating = pb.RateRequest(answer_id=f"{text}.{text}", comment=text * 1000)
    world.refused(tenant.gateway.Rate, rating, tenant.for_user("ada"))
    adapter = generate_pb.LoadAdapterRequest(name="one", uri=f"file:///nowhere?key={text}")
    world.refused(world.channel.unary_unary(_load_adapter()), adapter.SerializeToString())


def _load_adapter() -> str:
    [path] = [path_of(method) for method in every_rpc() if method.name == "LoadAdapter"]
    return path


def _strange(text: str) -> Struct:
    metadata = Struct()
    metadata.update({f'{text}"]) or 1 == 1 #\\': f"\0{text}\"'\\", "number": float("inf"), "text": text * 100})
    return metadata


def _at_the_command_line(world: World) -> None:
    garbage, new = world.canaries.new("garbage"), world.canaries.new
    world.command("search", new("query"), TANDEM_API_KEY=garbage)
    world.command("ask", new("question"), TANDEM_API_KEY=f"tk_{garbage}_{garbage}")
    world.command("key", "list", TANDEM_API_KEY=world.token(exp=1))
    world.command("source", "status", "nothing", TANDEM_API_KEY=_secret_of(world.tenant.application))


def _break_parts(world: World) -> None:
    """Kill one part after another while everything is called."""
    before = len(world.errors)
    for name in VICTIMS:
        unit = world.tandem.unit(name)
        restarts = unit.restarts
        done = threading.Event()
        calling = [
            threading.Thread(target=_call_until, args=(done, group))
            for group in (_reading_calls(world), _writing_calls(world))
        ]
        for each in calling:
            each.start()
        try:
            kill_9(unit.process.pid)
            world.tandem.wait(lambda name=name, restarts=restarts: world.tandem.unit(name).restarts > restarts)
            world.tandem.wait_until_healthy()
        finally:
            done.set()
            for each in calling:
                each.join()
    assert len(world.errors) > before
    world.tenant.until(lambda: not [each for each in _pending(world) if each.external_id == "broken part"])


def _pending(world: World) -> list[Any]:
    request = ingest_pb.ListDocumentsRequest(state=ingest_pb.DOCUMENT_STATE_PENDING)
    return list(world.tenant.call(world.tenant.ingest.ListDocuments, request).documents)


def _call_until(done: threading.Event, calls: list[Callable[[], None]]) -> None:
    while not done.is_set():
        for call in calls:
            call()


def _reading_calls(world: World) -> list[Callable[[], None]]:
    tenant, new = world.tenant, world.canaries.new
    ada = tenant.for_user("ada")
    search = pb.SearchRequest(query=new("query"), filter=_filter(world))
    ask = pb.AskRequest(question=new("question"), conversation_id="talk", assistant="clerk")
    turns = feedback_service_pb2.GetConversationRequest(conversation_id="talk")
    return [
        lambda: world.tried(tenant.gateway.Search, search, ada),
        lambda: world.tried(tenant.gateway.Ask, ask, ada),
        lambda: world.tried(tenant.feedback.GetConversation, turns, ada),
    ]


def _writing_calls(world: World) -> list[Callable[[], None]]:
    tenant, new = world.tenant, world.canaries.new
    numbers = iter(range(10**9))

    def push() -> None:
        content = f"{new('text')} for the {next(numbers)}th time".encode()
        world.tried(tenant.ingest.PushDocuments, _pushing(_document(world, "broken part", content=content)))

    assistant = pb.PutAssistantRequest(assistant=pb.Assistant(name="clerk", instructions=new("instructions")))
    secret = secret_pb.PutSecretRequest(name="wiki", value=new("secret's value").encode())
    users = directory_pb.PutUsersRequest(users=[directory_pb.User(user_id="ada", display_name=new("display name"))])
    return [
        push,
        lambda: world.tried(world.assistants.PutAssistant, assistant),
        lambda: world.tried(world.secrets.PutSecret, secret),
        lambda: world.tried(tenant.directory.PutUsers, users),
    ]


def _read_the_audit_log(world: World) -> None:
    tenant = world.tenant
    events = tenant.call(lambda *given, **options: list(tenant.audit.ExportAuditEvents(*given, **options)), EVERYTHING)
    rpcs = {answer.event.rpc.rpartition("/")[2] for answer in events}
    assert {"PushDocuments", "PutSecret", "PutAssistant", "PutUsers"} <= rpcs
    # Where an admin's source lies is a setting, and what an admin did with it is kept.
    said = [answer.event for answer in events if answer.event.rpc.rpartition("/")[2] != "CreateSource"]
    world.audit = b"\n".join(str(event).encode() for event in said)
