"""Rows of small data sets of each kind."""

from services.tune.domain.hyperparameters import Method

ROWS = 16


def row(number: int, **fields: object) -> dict[str, object]:
    """A question about a part that its passage answers; every third one is a follow-up."""
    return {
        "id": str(number),
        "conversation": f"c{number}",
        "at": "",
        "source": "test",
        "language": "en",
        "question": f"What does part {number} cost?",
        "history": [] if number % 3 else [{"question": "Hello?", "answer": "Hello."}],
        "passages": [{"document_id": f"d{number}", "title": f"Part {number}", "text": f"It costs {number} euros."}],
        "instructions": "",
        "documents": [f"d{number}"],
        "raters": [f"user:rater-{number % 2}"],
        "weight": 1.0,
        **fields,
    }


def rows(method: Method, count: int = ROWS) -> list[dict[str, object]]:
    return [row(number, **_answers(method, number)) for number in range(count)]


def _answers(method: Method, number: int) -> dict[str, object]:
    right, wrong = f"It costs {number} euros [1].", "I like trains very much."
    match method:
        case Method.SFT:
            return {"completion": right}
        case Method.DPO:
            return {"chosen": right, "rejected": wrong}
        case Method.KTO:
            return {"completion": right if number % 3 else wrong, "label": bool(number % 3)}
        case Method.GRPO:
            return {"answers": [f"{number} euros"], "answerable": bool(number % 4)}
