"""What is known of an adapter, signed by who made it: card.json beside its weights."""

from dataclasses import asdict, dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

from services.common.lora.errors import AdapterAltered

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """What proves which weights answer: the log-probabilities (natural) of each completion token after the prompt.

    `logprobs` are with the adapter and `base_logprobs` without, one of each a completion token.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """An adapter's origin. `parent` is the adapter that it began from, `dataset` what it learnt from; "" for none.

    `created_at` is a time in ISO 8601. `probe` is None for what was trained elsewhere.
    """

    digest: str
    tenant_id: str
    run_id: str
    base_model: str
    rank: int
    method: str
    dataset: str
    parent: str
    seed: int
    created_at: str
    probe: Probe | None = None
    format: int = FORMAT


_CARD = TypeAdapter(Card)


def bytes_of(card: Card) -> bytes:
    """Return the card as it is kept and signed."""
    return orjson.dumps(asdict(card), option=orjson.OPT_SORT_KEYS)


def card_of(content: bytes) -> Card:
    """Return the card in a card.json.

    Raises:
        AdapterAltered: it is none, or of a later format.
    """
    try:
        card = _CARD.validate_json(content)
    except ValidationError as error:
        raise AdapterAltered("the adapter's card cannot be read") from error
    if card.format != FORMAT:
        raise AdapterAltered("the adapter's card is of another format", format=card.format)
    return card
