"""What can end a measurement without a verdict."""

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable


class ContenderAway(Unavailable):
    """The engine has no adapter of the contender's name: it was started anew, or has not heard of it yet."""

    reason = "CONTENDER_AWAY"


class ContenderMoved(Unavailable):
    """Another adapter answers under the contender's name than when the measurement began."""

    reason = "CONTENDER_MOVED"


class LiveMoves(FailedPrecondition):
    """What is live was changed again and again while a candidate was measured against it."""

    reason = "LIVE_MOVES"


class PromptRefused(InvalidArgument):
    """The engine takes no such prompt or completion: it is too long, as a rule."""

    reason = "PROMPT_REFUSED"
