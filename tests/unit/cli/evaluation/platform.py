"""A gateway for evaluations: it knows some documents, and finds and answers what it is told to."""

import threading

import grpc
from tandem.feedback.v1 import events_pb2, feedback_service_pb2, feedback_service_pb2_grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc
from tandem.generate.v1 import generate_service_pb2, generate_service_pb2_grpc
from tandem.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from tandem.retrieve.v1 import retrieve_service_pb2, tuning_service_pb2, tuning_service_pb2_grpc
from tandem.tune.v1 import evaluation_service_pb2 as evaluations
from tandem.tune.v1 import evaluation_service_pb2_grpc, registry_service_pb2, registry_service_pb2_grpc


def passage(document: str, text: str = "text") -> retrieve_service_pb2.Passage:
    return retrieve_service_pb2.Passage(
        document_id=f"id-{document}", title=document, text=text, chunk_id=f"c-{document}"
    )


class KnownAnswers(gateway_service_pb2_grpc.GatewayServiceServicer):
    """Finds and answers by question; `search` and `answer` are replaced by what a test needs."""

    def __init__(self) -> None:
        self.searches: list[pb.SearchRequest] = []
        self.asked: list[pb.AskRequest] = []
        self.failures = []
        self.found: dict[str, list[str]] = {}
        self.search = lambda request: self.found.get(request.query, [])
        self.answer = lambda _: []
        self.lock = threading.Lock()

    def Search(self, request, context):
        with self.lock:
            self.searches.append(request)
            failure = self.failures.pop(0) if self.failures else None
        if failure:
            context.abort(failure, "as told")
        return pb.SearchResponse(passages=[passage(each) for each in self.search(request)])

    def Ask(self, request, context):
        with self.lock:
            self.asked.append(request)
        yield from self.answer(request)


class KnownDocuments(ingest_service_pb2_grpc.IngestServiceServicer):
    """Lists documents, one a page, and takes what is pushed."""

    def __init__(self) -> None:
        self.names = ["a", "b", "c"]
        self.sources: list[str] = []
        self.made: list[ingest_service_pb2.CreateSourceRequest] = []
        self.pushed: list[str] = []
        self.deleted: list[str] = []
        self.refusal = None
        self.push_refusal = None

    def CreateSource(self, request, context):
        if self.refusal:
            context.abort(self.refusal, "as told")
        self.made.append(request)
        return ingest_service_pb2.CreateSourceResponse(source=ingest_service_pb2.Source(source_id="scratch"))

    def PushDocuments(self, request, context):
        if self.push_refusal:
            context.abort(self.push_refusal, "as told")
        self.pushed.append(request.documents[0].content.decode())
        return ingest_service_pb2.PushDocumentsResponse()

    def DeleteSource(self, request, context):
        self.deleted.append(request.source)
        return ingest_service_pb2.DeleteSourceResponse()

    def ListDocuments(self, request, context):
        self.sources.append(request.source)
        at = int(request.page_token or 0)
        name = self.names[at]
        document = ingest_service_pb2.Document(document_id=f"id-{name}", external_id=f"guides/{name}.md", title=name)
        token = str(at + 1) if at + 1 < len(self.names) else ""
        return ingest_service_pb2.ListDocumentsResponse(documents=[document], next_page_token=token)


class KnownRatings(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """Gives ratings and interactions."""

    def __init__(self) -> None:
        self.rated: list[feedback_service_pb2.ExportRatingsResponse] = []
        self.interactions: list[events_pb2.Interaction] = []

    def ExportRatings(self, request, context):
        yield from self.rated

    def ListInteractions(self, request, context):
        return feedback_service_pb2.ListInteractionsResponse(interactions=self.interactions)


class KnownAdapters(generate_service_pb2_grpc.AdapterServiceServicer):
    """Has what was loaded."""

    def __init__(self) -> None:
        self.loaded: list[generate_service_pb2.Adapter] = []

    def ListAdapters(self, request, context):
        return generate_service_pb2.ListAdaptersResponse(adapters=self.loaded)


class KnownRegistry(registry_service_pb2_grpc.RegistryServiceServicer):
    """Has what was registered, by digest."""

    def __init__(self) -> None:
        self.registered: dict[str, registry_service_pb2.Adapter] = {}

    def GetAdapter(self, request, context):
        if request.digest not in self.registered:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such adapter")
        return registry_service_pb2.GetAdapterResponse(adapter=self.registered[request.digest])


class KnownAssistants(gateway_service_pb2_grpc.AssistantServiceServicer):
    """Has an assistant, and perhaps one that answers without retrieval."""

    def __init__(self) -> None:
        self.base = False
        self.one = pb.Assistant(name="default")

    def GetAssistant(self, request, context):
        return pb.GetAssistantResponse(assistant=self.one)

    def ListAssistants(self, request, context):
        assistants = [pb.Assistant(name="default")]
        if self.base:
            assistants.append(pb.Assistant(name="bare", without_retrieval=True))
        return pb.ListAssistantsResponse(assistants=assistants)


class KnownTunings(tuning_service_pb2_grpc.TuningServiceServicer):
    """Has a third version."""

    def GetTuning(self, request, context):
        tuning = tuning_service_pb2.Tuning(version=request.version, dense_share=0.25, max_steps=2)
        return tuning_service_pb2.GetTuningResponse(tuning=tuning)


class KnownSets(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    """Keeps one set, and has the states of an evaluation one after the other."""

    def __init__(self) -> None:
        self.put = None
        self.scheduled = None
        self.removed = ""
        self.content = b""
        self.states = [evaluations.Evaluation(evaluation_id="e1", state=evaluations.EVALUATION_STATE_DONE)]

    def PutSet(self, request, context):
        self.put = request
        return evaluations.PutSetResponse(set=evaluations.QuestionSet(name=request.name, questions=2))

    def ListSets(self, request, context):
        return evaluations.ListSetsResponse(sets=[evaluations.QuestionSet(name="faq", every_hours=24)])

    def GetSet(self, request, context):
        return evaluations.GetSetResponse(
            set=evaluations.QuestionSet(name=request.name), content=self.content, withheld=1
        )

    def DeleteSet(self, request, context):
        self.removed = request.name
        return evaluations.DeleteSetResponse()

    def SetSchedule(self, request, context):
        self.scheduled = request
        return evaluations.SetScheduleResponse(set=evaluations.QuestionSet(name=request.name, every_hours=6))

    def Evaluate(self, request, context):
        return evaluations.EvaluateResponse(evaluation=self._next())

    def GetEvaluation(self, request, context):
        return evaluations.GetEvaluationResponse(evaluation=self._next())

    def ListEvaluations(self, request, context):
        return evaluations.ListEvaluationsResponse(evaluations=self.states)

    def _next(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]
