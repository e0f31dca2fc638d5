"""Judges from the index's answers which changes the event log has lost."""

from datetime import datetime, timedelta


class Progress:
    """How far the answers have come.

    The log is read about in order. So while answers come, a change is lost when another,
    published `patience` later, was answered before it; what is newer is still queued, however
    long the queue. Without any answer for `patience`, every change that old may be lost.
    """

    def __init__(self, patience: timedelta, now: datetime) -> None:
        self._patience = patience
        self._answered_at = now
        self._furthest = now

    def answered(self, published_at: datetime, now: datetime) -> None:
        """Note an answer to a change published then."""
        self._answered_at = now
        self._furthest = max(self._furthest, published_at)

    def lost_before(self, now: datetime) -> datetime:
        """Return since when an unanswered change has to be published to be still expected."""
        stalled = now - self._answered_at >= self._patience
        return (now if stalled else min(self._furthest, now)) - self._patience
