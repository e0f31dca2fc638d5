"""Kept sets, schedules and evaluations on a real database, with searches that find what they are told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.common.access import Role
from services.common.database import open_database
from services.common.evaluation.rows import InvalidQuestionSet
from services.common.identity import Identity, set_caller
from services.common.permissions import open_permissions
from services.tune.adapters.evaluation_erasure import erase_sets
from services.tune.adapters.evaluations import LEASE, MAX_ATTEMPTS, PostgresEvaluations
from services.tune.adapters.question_sets import PostgresSets
from services.tune.domain.errors import ServiceUnavailable
from services.tune.domain.evaluations import (
    MAX_SETS,
    SCHEDULE,
    EvaluationNotFound,
    InvalidSchedule,
    InvalidSetName,
    SetNotFound,
    TooManySets,
)
from services.tune.evaluating import Clock, Evaluator, show
from services.tune.evaluation_servicer import EvaluationServicer

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"
QUESTIONS = 40
CONTENT = "".join(f'{{"id": "{n}", "question": "question {n}?", "documents": ["d{n}"]}}\n' for n in range(QUESTIONS))
START = datetime(2026, 1, 1, tzinfo=UTC)


class ToldSearch:
    """Finds a question's document at a place; `searched` is who asked."""

    def __init__(self) -> None:
        self.place = 0
        self.searched: list[Identity] = []
        self.error: Exception | None = None
        self.before = None

    async def documents(self, identity: Identity, query: str, passages: int) -> tuple[str, ...]:
        if self.before:
            await self.before()
        if self.error:
            raise self.error
        self.searched.append(identity)
        number = query.removeprefix("question ").removesuffix("?")
        found = [f"x{place}" for place in range(self.place)] + [f"d{number}"]
        return tuple(found[:passages])


class Platform:
    """The service's parts, and a clock that a test moves."""

    def __init__(self, sessions, permissions) -> None:
        self.at = START + timedelta(microseconds=next(_moments))
        self.sessions = sessions
        self.tenant = uuid4().hex
        self.ada = Identity(
            self.tenant, "user:ada", ("user:ada", "group:staff"), frozenset({Role.TRAINER, Role.READER})
        )
        self.search = ToldSearch()
        clock = Clock(self.now, lambda: uuid4().hex)
        self.sets = PostgresSets(sessions)
        self.evaluations = PostgresEvaluations(sessions)
        self.evaluator = Evaluator(self.evaluations, self.search, clock, 30.0)
        self.servicer = EvaluationServicer(self.sets, self.evaluations, permissions, lambda: None, clock)

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    async def put(self, name: str = "faq", content: str = CONTENT, who: Identity | None = None) -> pb.QuestionSet:
        set_caller(who or self.ada)
        return (await self.servicer.PutSet(pb.PutSetRequest(name=name, content=content.encode()), None)).set

    async def schedule(self, hours: int, name: str = "faq", who: Identity | None = None) -> pb.QuestionSet:
        set_caller(who or self.ada)
        return (await self.servicer.SetSchedule(pb.SetScheduleRequest(name=name, every_hours=hours), None)).set

    async def ask(self, name: str = "faq", who: Identity | None = None) -> pb.Evaluation:
        set_caller(who or self.ada)
        return (await self.servicer.Evaluate(pb.EvaluateRequest(name=name), None)).evaluation

    async def evaluated(self, name: str = "faq") -> pb.Evaluation:
        asked = await self.ask(name)
        await self.evaluator.work()
        return await self.get(asked.evaluation_id)

    async def get(self, evaluation_id: str, who: Identity | None = None) -> pb.Evaluation:
        set_caller(who or self.ada)
        request = pb.GetEvaluationRequest(evaluation_id=evaluation_id)
        return (await self.servicer.GetEvaluation(request, None)).evaluation

    async def listed(self, name: str = "faq") -> list[pb.Evaluation]:
        set_caller(self.ada)
        answer = await self.servicer.ListEvaluations(pb.ListEvaluationsRequest(name=name), None)
        return list(answer.evaluations)

    async def found(self, name: str = "faq", who: Identity | None = None) -> pb.GetSetResponse:
        set_caller(who or self.ada)
        return await self.servicer.GetSet(pb.GetSetRequest(name=name), None)


_moments = count()


@pytest.fixture
async def platform(database_url, manifest) -> AsyncIterator[Platform]:  # noqa: ARG001 - permissions need its tables
    async with open_platform(database_url) as opened:
        yield opened


@asynccontextmanager
async def open_platform(url: str) -> AsyncIterator[Platform]:
    async with open_database(url, MIGRATIONS, "tune") as sessions, open_permissions(url) as permissions:
        async with sessions.begin() as session:
            await session.execute(text("DELETE FROM tune.question_sets"))
            await session.execute(text("DELETE FROM tune.evaluations"))
        yield Platform(sessions, permissions)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_set_is_measured_as_who_asked_and_its_figures_are_kept(platform):
    await platform.put()
    done = await platform.evaluated()
    assert (done.state, done.subject, done.searched) == (pb.EVALUATION_STATE_DONE, "user:ada", QUESTIONS)
    figures = {figure.measure: figure.value for figure in done.figures}
    assert figures == {"nDCG@10": 1, "recall@10": 1, "MRR@10": 1, "all@10": 1}
    assert set(platform.search.searched) == {platform.ada}
    assert not done.fell


async def test_a_repeat_while_one_waits_is_that_one(platform):
    await platform.put()
    assert (await platform.ask()).evaluation_id == (await platform.ask()).evaluation_id
    await platform.evaluator.work()
    assert len(await platform.listed()) == 1


async def test_a_fall_beyond_chance_is_said_and_counted_once_it_is_scheduled(platform):
    await platform.put()
    await platform.schedule(1)
    labels = {"tenant": platform.tenant, "set": "faq"}
    await platform.evaluated()
    shown = show(await platform.evaluations.newest_scheduled(), frozenset())
    assert REGISTRY.get_sample_value("tandem_tune_evaluation_falls_total", labels) == 0
    platform.search.place = 2
    platform.at += timedelta(hours=2)
    await platform.evaluator.work()
    newest, before = await platform.listed()
    assert (newest.fell, before.fell, newest.scheduled) == (True, False, True)
    assert newest.fall == pytest.approx(0.5 - 1)
    assert counted("tandem_tune_evaluation_falls_total", **labels) == 1
    shown = show(await platform.evaluations.newest_scheduled(), shown)
    assert counted("tandem_tune_evaluation_score", **labels, measure="MRR@10") == pytest.approx(1 / 3)
    await platform.schedule(0)
    assert not show(await platform.evaluations.newest_scheduled(), shown)
    assert REGISTRY.get_sample_value("tandem_tune_evaluation_score", {**labels, "measure": "MRR@10"}) is None


async def test_a_slow_decline_is_seen_against_the_best(platform):
    await platform.put()
    await platform.evaluated()
    platform.search.place = 1
    assert (await platform.evaluated()).fell
    again = await platform.evaluated()
    assert again.fell
    assert again.fall == pytest.approx(0.6309 - 1, abs=1e-4)


async def test_other_questions_are_measured_against_nothing_earlier(platform):
    await platform.put()
    await platform.evaluated()
    await platform.put(content=CONTENT + '{"id": "more", "question": "question 7 ?", "documents": ["d7"]}\n')
    platform.search.place = 5
    assert not (await platform.evaluated()).fell


async def test_a_schedule_goes_on_without_making_up_for_what_was_missed_and_ends_by_itself(platform):
    await platform.put()
    kept = await platform.schedule(2)
    assert kept.scheduled_by == "user:ada"
    assert kept.ends_at.ToDatetime(UTC) - platform.at < SCHEDULE + timedelta(seconds=1)
    platform.at += timedelta(hours=9)
    await platform.evaluator.work()
    await platform.evaluator.work()
    assert len(await platform.listed()) == 1
    platform.at += SCHEDULE
    await platform.evaluator.work()
    assert len(await platform.listed()) == 1
    assert (await platform.found()).set.every_hours == 0


async def test_a_schedule_searches_as_who_set_it_and_as_nobody_else(platform):
    bob = replace(platform.ada, subject="user:bob", principals=("user:bob",))
    await platform.put()
    await platform.schedule(1, who=bob)
    platform.at += timedelta(hours=2)
    await platform.evaluator.work()
    assert set(platform.search.searched) == {bob}


async def test_a_question_whose_documents_the_caller_may_not_read_is_not_shown(platform, manifest):
    for number in range(QUESTIONS):
        reader = "user:eve" if number == 3 else "group:staff"
        await manifest.put(platform.tenant, f"d{number}", reader)
    await platform.put()
    shown = await platform.found()
    assert shown.withheld == 1
    assert b"question 3?" not in shown.content
    assert shown.content.count(b"\n") == QUESTIONS - 1


async def test_another_tenant_sees_nothing(platform):
    stranger = replace(platform.ada, tenant_id=uuid4().hex)
    await platform.put()
    done = await platform.evaluated()
    with pytest.raises(SetNotFound):
        await platform.found(who=stranger)
    with pytest.raises(SetNotFound):
        await platform.ask(who=stranger)
    with pytest.raises(SetNotFound):
        await platform.schedule(1, who=stranger)
    with pytest.raises(EvaluationNotFound):
        await platform.get(done.evaluation_id, who=stranger)
    set_caller(stranger)
    assert not (await platform.servicer.ListSets(pb.ListSetsRequest(), None)).sets
    with pytest.raises(SetNotFound):
        await platform.servicer.DeleteSet(pb.DeleteSetRequest(name="faq"), None)
    with pytest.raises(SetNotFound):
        await platform.servicer.ListEvaluations(pb.ListEvaluationsRequest(name="faq"), None)


async def test_one_that_is_cancelled_stops_and_keeps_nothing(platform):
    await platform.put()
    asked = await platform.ask()

    async def cancel() -> None:
        platform.search.before = None
        await platform.servicer.CancelEvaluation(pb.CancelEvaluationRequest(evaluation_id=asked.evaluation_id), None)

    platform.search.before = cancel
    await platform.evaluator.work()
    ended = await platform.get(asked.evaluation_id)
    assert (ended.state, len(ended.figures)) == (pb.EVALUATION_STATE_CANCELLED, 0)
    assert len(platform.search.searched) < QUESTIONS


async def test_searches_that_do_not_answer_fail_it_with_the_reason(platform):
    await platform.put()
    platform.search.error = ServiceUnavailable("gone", service="retrieve")
    failed = await platform.evaluated()
    assert (failed.state, failed.failure) == (pb.EVALUATION_STATE_FAILED, "SERVICE_UNAVAILABLE")


async def test_what_a_killed_process_worked_on_is_taken_over_and_given_up_in_the_end(platform):
    await platform.put()
    asked = await platform.ask()
    for _ in range(MAX_ATTEMPTS):
        assert await platform.evaluations.claim(platform.now())
        assert await platform.evaluations.claim(platform.now()) is None
        platform.at += LEASE + timedelta(seconds=1)
    assert await platform.evaluations.claim(platform.now()) is None
    ended = await platform.get(asked.evaluation_id)
    assert (ended.state, ended.failure) == (pb.EVALUATION_STATE_FAILED, "EVALUATION_LOST")


async def test_who_was_taken_over_from_keeps_nothing_once_the_other_is_done(platform):
    await platform.put()
    await platform.ask()
    slow = await platform.evaluations.claim(platform.now())
    platform.at += LEASE + timedelta(seconds=1)
    await platform.evaluator.work()
    assert not await platform.evaluations.finish(slow.evaluation, {}, {}, -1.0, platform.now())
    assert (await platform.listed())[0].figures


async def test_an_erased_person_leaves_no_set_no_schedule_and_no_evaluation(platform):
    bob = replace(platform.ada, subject="user:bob")
    await platform.put("adas")
    await platform.put("bobs", who=bob)
    await platform.schedule(1, "adas", who=bob)
    await platform.ask("adas", who=bob)
    await platform.ask("bobs")
    async with platform.sessions.begin() as session:
        removed = await erase_sets(session, platform.tenant, ["user:bob"])
    assert removed == {"question sets": 1, "evaluations": 2, "schedules": 1}
    assert (await platform.found("adas")).set.every_hours == 0
    with pytest.raises(SetNotFound):
        await platform.found("bobs")
    async with platform.sessions.begin() as session:
        assert (await erase_sets(session, platform.tenant, None))["question sets"] == 1
        assert set((await erase_sets(session, platform.tenant, None)).values()) == {0}


async def test_an_evaluation_of_an_erased_set_under_way_ends(platform):
    await platform.put()
    await platform.ask()

    async def erase() -> None:
        platform.search.before = None
        async with platform.sessions.begin() as session:
            await erase_sets(session, platform.tenant, None)

    platform.search.before = erase
    await platform.evaluator.work()
    assert len(platform.search.searched) < QUESTIONS


async def test_sets_are_paged_by_name_and_bounded(platform):
    for number in range(3):
        await platform.put(f"set-{number}")
    set_caller(platform.ada)
    first = await platform.servicer.ListSets(pb.ListSetsRequest(page_size=2), None)
    rest = await platform.servicer.ListSets(pb.ListSetsRequest(page_token=first.next_page_token), None)
    assert [each.name for each in (*first.sets, *rest.sets)] == ["set-0", "set-1", "set-2"]
    for number in range(3, MAX_SETS):
        await platform.put(f"set-{number}")
    with pytest.raises(TooManySets):
        await platform.put("one-more")
    await platform.put("set-0", CONTENT + "\n")


async def test_evaluations_are_paged_newest_first(platform):
    await platform.put()
    ids = [(await platform.evaluated()).evaluation_id for _ in range(3)]
    set_caller(platform.ada)
    first = await platform.servicer.ListEvaluations(pb.ListEvaluationsRequest(name="faq", page_size=2), None)
    request = pb.ListEvaluationsRequest(name="faq", page_token=first.next_page_token)
    rest = await platform.servicer.ListEvaluations(request, None)
    assert [each.evaluation_id for each in (*first.evaluations, *rest.evaluations)] == ids[::-1]


async def test_a_repeat_of_the_same_set_changes_nothing(platform):
    first = await platform.put()
    assert await platform.put() == first
    assert (await platform.put(content=CONTENT + "\n")).digest != first.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no question"),
        ('{"question": "x"}', "names a document"),
        ('{"question": "x", "documents": {"d": 0}}', "names a document"),
        ('{"question": "x", "document": ["d"]}', "column 2 is none of id, question"),
        ("".join(f'{{"question": "{n}", "documents": ["d"]}}\n' for n in range(2001)), "more than 2000 questions"),
        ("\n" * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
    ],
)
async def test_a_set_that_cannot_be_measured_on_is_refused(platform, content, message):
    with pytest.raises(InvalidQuestionSet, match=message):
        await platform.put(content=content)


async def test_wrong_names_hours_and_ids_are_refused(platform):
    for name in ("", "a/b", "x" * 65, "a\0"):
        with pytest.raises(InvalidSetName):
            await platform.put(name)
        with pytest.raises(SetNotFound):
            await platform.ask(name)
    await platform.put()
    for hours in (-1, 8761):
        with pytest.raises(InvalidSchedule):
            await platform.schedule(hours)
    for evaluation_id in ("", "a\0", "unknown"):
        with pytest.raises(EvaluationNotFound):
            await platform.get(evaluation_id)


async def test_tenants_take_turns(platform):
    other = replace(platform.ada, tenant_id=uuid4().hex)
    for name in ("one", "two"):
        await platform.put(name)
        await platform.ask(name)
    await platform.put("theirs", who=other)
    await platform.ask("theirs", who=other)
    served = [(await platform.evaluations.claim(platform.now())).evaluation.tenant_id for _ in range(3)]
    assert served == [platform.tenant, other.tenant_id, platform.tenant]


async def test_a_set_with_answers_is_searched_for_on_what_names_documents(platform):
    known, unknown = '{"question": "how many?", "answers": ["3"]}', '{"question": "who?", "answerable": false}'
    kept = await platform.put(content=f"{CONTENT}{known}\n{unknown}\n")
    assert kept.questions == QUESTIONS + 2
    done = await platform.evaluated()
    assert done.state == pb.EVALUATION_STATE_DONE
    assert {figure.value for figure in done.figures} == {1}
    assert len(platform.search.searched) == QUESTIONS


async def test_a_set_of_answers_alone_has_nothing_to_search_for(platform):
    await platform.put(content='{"question": "how many?", "answers": ["3"]}')
    done = await platform.evaluated()
    assert (done.state, done.failure) == (pb.EVALUATION_STATE_FAILED, "NOTHING_TO_SEARCH")
