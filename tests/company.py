"""Fills a tenant with one of everything, each text and name bearing a mark that is found nowhere else."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from tandem.common.v1 import access_pb2
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback
from tandem.gateway.v1 import directory_service_pb2 as directory
from tandem.gateway.v1 import erasure_service_pb2 as erasure
from tandem.gateway.v1 import gateway_service_pb2 as gateway
from tandem.ingest.v1 import ingest_service_pb2 as ingest
from tandem.ingest.v1 import secret_service_pb2 as secrets
from tandem.retrieve.v1 import tuning_service_pb2 as tuning
from tandem.tune.v1 import dataset_service_pb2 as dataset
from tandem.tune.v1 import evaluation_service_pb2 as evaluation
from tandem.tune.v1 import tuning_service_pb2 as tune

from services.common.access import Role, is_read, number_of
from tests.messages import Pool, every_rpc, filled, new, path_of
from tests.proving import Metadata, Outcome, Place, bearer

SETTLE_SECONDS = 120
BAD_PDF = b"%PDF-1.7 and no more"
READ_VARIANTS = 8

# What was answered: by RPC and request, the code and the messages.
State = dict[tuple[str, bytes], tuple[str | bytes, ...]]

_METHODS = {method.input_type.full_name: method for method in every_rpc()}


@dataclass
class Company:
    """A tenant with its admin's key, and all that was ever seen of its objects."""

    tenant_id: str
    mark: str
    secret: str
    gateway: Place
    pool: Pool = field(default_factory=Pool)

    @property
    def admin(self) -> Metadata:
        return bearer(self.secret)

    def do(self, request: Message) -> Any:
        """Call the RPC that takes this request, and remember all of both; None if nobody serves it."""
        method = _METHODS[request.DESCRIPTOR.full_name]
        outcome = self.gateway.call(method, request, self.admin)
        if outcome.code is grpc.StatusCode.UNIMPLEMENTED:
            return None
        assert outcome.code is grpc.StatusCode.OK, (path_of(method), outcome)
        self.pool.learn(request)
        answers = self._learn(method.output_type, outcome)
        return answers[-1] if answers else None

    def _learn(self, descriptor: Any, outcome: Outcome) -> list[Any]:
        answers = [new(descriptor) for _ in outcome.bodies]
        for answer, body in zip(answers, outcome.bodies, strict=True):
            answer.ParseFromString(body)
            self.pool.learn(answer)
        return answers

    def key(self, *roles: Role, **terms: Any) -> str:
        """Return the secret of a new key with some roles."""
        request = gateway.CreateApiKeyRequest(name=f"{self.mark}-key", roles=map(number_of, roles), **terms)
        return str(self.do(request).secret)

    def revoke(self, secret: str) -> None:
        """End a key, and wait until it is refused."""
        keys = self.do(gateway.ListApiKeysRequest()).api_keys
        [key_id] = [each.key_id for each in keys if each.key_id in secret]
        self.do(gateway.RevokeApiKeyRequest(key_id=key_id))
        self.until_refused(secret)

    def until_refused(self, secret: str) -> None:
        """Wait until a key is good for nothing."""
        method = _METHODS[gateway.GetCallerRequest.DESCRIPTOR.full_name]
        self._await(lambda: self.gateway.call(method, b"", bearer(secret)).code is grpc.StatusCode.UNAUTHENTICATED)

    def settle(self) -> "Company":
        """Make one of everything, and wait until the platform has it everywhere."""
        self._bring_documents()
        self._know_people()
        for role in (access_pb2.ROLE_READER, access_pb2.ROLE_TRAINER):
            self.do(gateway.CreateApiKeyRequest(name=f"{self.mark}-key-{role}", roles=[role]))
        self.do(secrets.PutSecretRequest(name=f"{self.mark}-secret", value=f"{self.mark} hidden".encode()))
        self.do(gateway.PutAssistantRequest(assistant=self._assistant()))
        weights = [tuning.SourceWeight(source=f"{self.mark}-source", weight=2)]
        self.do(tuning.PutTuningRequest(tuning=tuning.Tuning(source_weights=weights)))
        self._await(self._indexed)
        self._talk()
        self._await(self._remembered)
        self._keep_questions()
        self._build_dataset()
        self._learn_to_rank()
        return self.read()

    def read(self) -> "Company":
        """Read everything that can be read, with what is known, so that nothing of it stays unknown."""
        for _, outcome, method in self.readings():
            self._learn(method.output_type, outcome)
        return self

    def readings(self, only: State | None = None) -> Any:
        """Yield each request of every RPC that changes nothing, with its outcome and its RPC."""
        for method in every_rpc():
            if is_read(path_of(method)) and self.gateway.offers(method):
                for request in filled(method.input_type, self.pool, READ_VARIANTS):
                    key = (path_of(method), request.SerializeToString(deterministic=True))
                    if only is not None and key not in only:
                        continue
                    yield request, self.gateway.call(method, request, self.admin), method

    def texts(self) -> set[str]:
        return self.pool.texts()

    def _bring_documents(self) -> None:
        source = f"{self.mark}-source"
        self.do(
            ingest.CreateSourceRequest(
                request_id=f"{self.mark}-request", name=source, kind="push", push={}, readers=["everyone"]
            )
        )
        metadata = Struct()
        metadata.update({"shelf": f"{self.mark}-shelf"})
        self.do(
            ingest.PushDocumentsRequest(
                request_id=f"{self.mark}-push",
                source=source,
                documents=[
                    ingest.PushedDocument(
                        external_id=f"{self.mark}-{number}",
                        title=f"{self.mark} title {number}",
                        uri=f"https://wiki.example/{self.mark}/{number}",
                        content=content,
                        readers=readers,
                        metadata=metadata,
                    )
                    for number, content, readers in (
                        (1, f"# {self.mark} heading\n\nThe {self.mark} kettle has a warranty.".encode(), ["everyone"]),
                        (2, f"The {self.mark} toaster is for ada alone.".encode(), [f"user:{self.mark}-ada"]),
                        (3, BAD_PDF, ["everyone"]),
                    )
                ],
            )
        )

    def _know_people(self) -> None:
        ada, staff = f"{self.mark}-ada", f"{self.mark}-staff"
        users = [
            directory.User(user_id=ada, display_name=f"{self.mark} Ada", aliases=[f"{self.mark}@example.com"]),
            directory.User(user_id=f"{self.mark}-gone", display_name=f"{self.mark} Gone"),
        ]
        self.do(directory.PutUsersRequest(users=users))
        group = directory.Group(group_id=staff, display_name=f"{self.mark} Staff", members=[f"user:{ada}"])
        self.do(directory.PutGroupsRequest(groups=[group]))
        self.do(directory.ExpandUserRequest(user_id=ada))
        erased = self.do(erasure.EraseUserRequest(user_id=f"{self.mark}-gone"))
        if erased is not None:
            self.do(erasure.WatchErasureRequest(erasure_id=erased.erasure.erasure_id))

    def _assistant(self) -> gateway.Assistant:
        return gateway.Assistant(
            name=f"{self.mark}-assistant",
            instructions=f"{self.mark} instructions",
            sources=[f"{self.mark}-source"],
        )

    def _talk(self) -> None:
        asked = gateway.AskRequest(
            question=f"How long is the warranty of the {self.mark} kettle?",
            assistant=f"{self.mark}-assistant",
            conversation_id=f"{self.mark}-talk",
        )
        ended = self.do(asked)
        self.do(
            gateway.RateRequest(
                answer_id=ended.end.answer_id,
                thumb=events_pb2.THUMB_UP,
                comment=f"{self.mark} comment",
                correction=f"{self.mark} correction",
            )
        )
        self.do(gateway.SearchRequest(query=f"{self.mark} kettle"))

    def _keep_questions(self) -> None:
        name = f"{self.mark}-set"
        [document, *_] = self.do(ingest.ListDocumentsRequest()).documents
        question = {"id": "1", "question": f"{self.mark} warranty?", "documents": [document.document_id]}
        kept = self.do(evaluation.PutSetRequest(name=name, content=json.dumps(question).encode()))
        if kept is None:
            return
        self.do(evaluation.SetScheduleRequest(name=name, every_hours=8_760))
        asked = evaluation.GetEvaluationRequest(
            evaluation_id=self.do(evaluation.EvaluateRequest(name=name)).evaluation.evaluation_id
        )
        self._await(lambda: self.do(asked).evaluation.state == evaluation.EVALUATION_STATE_DONE)

    def _build_dataset(self) -> None:
        rows = [{"prompt": f"What is {self.mark} {each}?", "completion": f"{self.mark} is {each}."} for each in "xyz"]
        request = dataset.UploadDatasetRequest(
            request_id=f"{self.mark}-rows",
            kind=dataset.DATASET_KIND_SFT,
            file_name=f"{self.mark}.jsonl",
            content="\n".join(map(json.dumps, rows)).encode(),
            parameters=dataset.DatasetParameters(keep_personal_data=True),
        )
        started = self.do(request)
        if started is not None:
            asked = dataset.GetDatasetBuildRequest(build_id=started.build.build_id)
            self._await(lambda: self.do(asked).build.state == dataset.DATASET_BUILD_STATE_SUCCEEDED)

    def _learn_to_rank(self) -> None:
        request = tune.StartRerankerRunRequest(
            request_id=f"{self.mark}-run",
            training_set=tune.TrainingSet(
                queries=[
                    tune.TrainingQuery(query=f"{self.mark} query", positives=[tune.Positive(text=f"{self.mark} text")])
                ]
            ),
        )
        started = self.do(request)
        if started is not None:
            # One question is too little: it fails without training.
            asked = tune.GetRunRequest(run_id=started.run.run_id)
            self._await(lambda: self.do(asked).run.state == tune.RUN_STATE_FAILED)

    def _indexed(self) -> bool:
        counts = self.do(ingest.GetSourceRequest(source=f"{self.mark}-source")).source.counts
        return counts.indexed == 2 and counts.failed == 1 and not counts.pending

    def _remembered(self) -> bool:
        return bool(self.do(feedback.ListInteractionsRequest()).interactions)

    @staticmethod
    def _await(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, condition
            time.sleep(0.1)


def state_of(company: Company, like: State | None = None) -> State:
    """Return what the tenant's own admin is shown, by RPC and request; only what is in `like`, where it is given."""
    state = {
        (path_of(method), request.SerializeToString(deterministic=True)): (outcome.code.name, *outcome.bodies)
        for request, outcome, method in company.readings(like)
    }
    return state if like is None else {key: state[key] for key in like}
