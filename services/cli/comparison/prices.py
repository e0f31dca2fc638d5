"""What answers cost: by the token, as an API bills, or by the hour, as a machine does."""

import math
from dataclasses import dataclass

from services.cli.errors import Failure
from services.cli.evaluation.outcomes import Outcome

A_THOUSAND = 1_000
A_MILLION = 1_000_000
AN_HOUR = 3_600.0


class InvalidPrice(Failure):
    """A price is none, or there are prices of both kinds."""

    reason = "INVALID_PRICE"


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in some currency: of a million tokens read, of a million written, or of the machine's hour.

    By the hour an answer costs the time that it took, shared by the `at_once` that were asked at once.
    """

    prompt: float = 0.0
    completion: float = 0.0
    hour: float = 0.0
    at_once: int = 1

    @property
    def basis(self) -> str:
        """Return in words how costs come about."""
        if self.hour:
            return f"by machine hour: {self.hour:g} an hour, shared by {self.at_once} answers at once"
        return f"by token: {self.prompt:g} for a million read, {self.completion:g} for a million written"

    def of_a_thousand(self, outcome: Outcome) -> float:
        """Return what a thousand answers such as this one cost."""
        if self.hour:
            return A_THOUSAND * outcome.seconds / AN_HOUR * self.hour / self.at_once
        if outcome.reply is None:
            return 0.0
        usage = outcome.reply.usage
        spent = usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion
        return A_THOUSAND * spent / A_MILLION


def prices_of(prompt: float, completion: float, hour: float, at_once: int) -> Prices | None:
    """Return the prices; None where none is given, each of 0.

    Raises:
        InvalidPrice: one is negative or no number, or both kinds are given.
    """
    given = (prompt, completion, hour)
    if not all(math.isfinite(price) and price >= 0 for price in given):
        raise InvalidPrice("a price is 0 or more")
    if hour and (prompt or completion):
        raise InvalidPrice("give prices by token, or by the hour, not both: they are two bills for one thing")
    return Prices(*given, at_once=at_once) if any(given) else None
