"""How long to wait before starting again what has died."""

from dataclasses import dataclass

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 10.0
STABLE_SECONDS = 30.0
# More make the pause no longer.
MAX_DEATHS = 20


@dataclass(slots=True)
class Backoff:
    """Doubles the pause with each death, and forgets the deaths before a stable time."""

    deaths: int = 0

    def next_pause(self, lived_seconds: float) -> float:
        """Return the pause in seconds after a process that lived so long."""
        self.deaths = 1 if lived_seconds >= STABLE_SECONDS else min(self.deaths + 1, MAX_DEATHS)
        return float(min(FIRST_SECONDS * 2 ** (self.deaths - 1), LONGEST_SECONDS))
