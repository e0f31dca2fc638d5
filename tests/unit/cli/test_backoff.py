"""The pause before a restart doubles, has a limit, and is forgotten after a stable time."""

from services.cli.backoff import FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS, Backoff


def test_pauses_double_up_to_the_longest():
    backoff = Backoff()
    pauses = [backoff.next_pause(0.1) for _ in range(10)]
    assert pauses[:4] == [FIRST_SECONDS, FIRST_SECONDS * 2, FIRST_SECONDS * 4, FIRST_SECONDS * 8]
    assert pauses[-1] == LONGEST_SECONDS


def test_a_stable_time_forgets_the_deaths_before():
    backoff = Backoff()
    for _ in range(5):
        backoff.next_pause(0.1)
    assert backoff.next_pause(STABLE_SECONDS) == FIRST_SECONDS
    assert backoff.next_pause(0.1) == FIRST_SECONDS * 2


def test_a_service_that_never_stays_up_for_days_does_not_overflow():
    backoff = Backoff()
    assert {backoff.next_pause(0) for _ in range(2000)} >= {FIRST_SECONDS, LONGEST_SECONDS}
    assert backoff.next_pause(0) == LONGEST_SECONDS
