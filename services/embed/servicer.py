"""EmbedService: the face of the query lane."""

from typing import Any

from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc

from services.common.errors import InvalidArgument
from services.embed.models import Models

MAX_TEXTS = 64
# More than any model reads; the tokenizer need not see the rest.
MAX_CHARACTERS = 32_000


class EmptyText(InvalidArgument):
    """There is nothing to embed."""

    reason = "EMPTY_TEXT"


class TooManyTexts(InvalidArgument):
    """More texts than a call may bring."""

    reason = "TOO_MANY_TEXTS"


class ModelUnknown(InvalidArgument):
    """The deployment has no such model."""

    reason = "MODEL_UNKNOWN"


class EmbedServicer(embed_service_pb2_grpc.EmbedServiceServicer):
    """Embeds texts ahead of documents."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def Embed(self, request: embed_service_pb2.EmbedRequest, context: Any) -> embed_service_pb2.EmbedResponse:
        """Return one vector a text."""
        if len(request.texts) > MAX_TEXTS:
            raise TooManyTexts(f"at most {MAX_TEXTS} texts a call", texts=len(request.texts))
        texts = [text[:MAX_CHARACTERS] for text in request.texts]
        if not texts or not all(text.strip() for text in texts):
            raise EmptyText("every text must have a character that is not space")
        if not self._models.has(request.model):
            raise ModelUnknown("there is no such embedding model", model=request.model[:100])
        model = await self._models.of(request.model)
        vectors = await model.lanes.embed_queries(texts)
        return embed_service_pb2.EmbedResponse(
            vectors=[embed_service_pb2.Vector(values=vector.astype("<f4").tobytes()) for vector in vectors],
            model=model.name,
        )
