"""Makes what one place has of some documents what another has, vectors and all: nothing is embedded again."""

from collections.abc import Iterator, Sequence

from services.common.identity import Identity
from services.embed.domain import StoredPassage
from services.embed.metrics import CHUNKS
from services.embed.ports import PassageIndex

# Rows that are carried at once; each brings its text and its vector.
_WAVE = 500


async def mirror(identity: Identity, document_ids: Sequence[str], source: PassageIndex, copy: PassageIndex) -> None:
    """Make `copy` hold of the documents exactly what `source` holds.

    As in writing, a document's first passage comes after all its others, and what is stale goes
    last. Doing it again changes nothing.

    Raises:
        Unavailable: trying again may help.
    """
    wanted, stored = await source.stored(identity, document_ids), await copy.stored(identity, document_ids)
    known = {row.id: row for row in stored}
    missing = [row for row in wanted if known.get(row.id) != row]
    for first in (False, True):
        for wave in _waves([row for row in missing if (row.ordinal == 0) is first]):
            await copy.upsert(identity, await source.passages(identity, [row.id for row in wave]))
    CHUNKS.labels("copied").inc(len(missing))
    kept = {row.id for row in wanted}
    await copy.delete(identity, [row.id for row in stored if row.id not in kept])


def _waves(rows: Sequence[StoredPassage]) -> Iterator[Sequence[StoredPassage]]:
    for start in range(0, len(rows), _WAVE):
        yield rows[start : start + _WAVE]
