"""Which conversations a canary answers."""

import hashlib


def is_for_canary(canary_id: str, conversation_id: str, share: float) -> bool:
    """Tell whether a conversation is the canary's: always the same answer, for `share` (0 to 1) of conversations.

    Another canary draws anew, so that it is not always the same people who try things out.
    """
    drawn = hashlib.sha256(f"{canary_id}/{conversation_id}".encode()).digest()[:8]
    return int.from_bytes(drawn) / 2**64 < share
