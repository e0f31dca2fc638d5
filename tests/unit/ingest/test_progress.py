"""Which changes may be lost, as far as the answers tell."""

from datetime import UTC, datetime, timedelta

from services.ingest.progress import Progress

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)


def at(seconds):
    return START + timedelta(seconds=seconds)


def test_at_first_nothing_is_lost():
    progress = Progress(PATIENCE, START)
    assert progress.lost_before(at(29)) <= START


def test_without_answers_everything_old_may_be_lost():
    progress = Progress(PATIENCE, START)
    assert progress.lost_before(at(100)) == at(70)


def test_while_answers_come_only_what_they_overtook_may_be_lost():
    progress = Progress(PATIENCE, START)
    progress.answered(at(50), at(900))
    assert progress.lost_before(at(910)) == at(20)


def test_an_older_answer_does_not_turn_back_the_furthest():
    progress = Progress(PATIENCE, START)
    progress.answered(at(50), at(60))
    progress.answered(at(10), at(61))
    assert progress.lost_before(at(62)) == at(20)
