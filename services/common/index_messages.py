"""How an index is made, between protobuf and the domain."""

from tandem.common.v1 import index_pb2 as pb

from services.common.index_config import IndexConfig


def message_of(config: IndexConfig) -> pb.IndexConfig:
    """Return the message that says how an index is made."""
    return pb.IndexConfig(
        model=config.model,
        languages=config.languages,
        chunk_tokens=config.chunk_tokens,
        overlap_tokens=config.overlap_tokens,
        strategies=[pb.ChunkStrategy(kind=kind, strategy=name) for kind, name in sorted(config.strategies.items())],
    )


def config_of(message: pb.IndexConfig) -> IndexConfig:
    """Return what a message says of how an index is made.

    Raises:
        InvalidIndexConfig: no index can be made like that.
    """
    return IndexConfig(
        model=message.model,
        languages=tuple(message.languages),
        chunk_tokens=message.chunk_tokens,
        overlap_tokens=message.overlap_tokens,
        strategies={each.kind: each.strategy for each in message.strategies},
    )
