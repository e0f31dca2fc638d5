"""Who is let in, who waits, and who is turned away."""

import asyncio

import pytest

from services.generate.admission import Admission
from services.generate.domain.errors import EngineBusy


async def hold(admission, release):
    async with admission.slot():
        await release.wait()


async def test_more_than_may_wait_are_turned_away_at_once():
    admission, release = Admission(2, 1), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (2, 1)
    with pytest.raises(EngineBusy) as caught:
        async with admission.slot():
            pass
    assert caught.value.retry_seconds
    release.set()
    await asyncio.gather(*tasks)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_nobody_waits_where_nobody_may():
    admission, release = Admission(1, 0), asyncio.Event()
    task = asyncio.create_task(hold(admission, release))
    await asyncio.sleep(0)
    with pytest.raises(EngineBusy):
        async with admission.slot():
            pass
    release.set()
    await task
    async with admission.slot():
        assert admission.running == 1


async def test_one_that_gives_up_waiting_leaves_no_place_taken():
    admission, release = Admission(1, 5), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.running, admission.waiting) == (0, 0)
    async with asyncio.timeout(1), admission.slot():
        assert admission.running == 1


async def test_one_cancelled_as_its_turn_comes_hands_it_on():
    admission = Admission(1, 5)
    first, never = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, event)) for event in (first, never)]
    await asyncio.sleep(0)
    first.set()
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(1), admission.slot():
        assert admission.running == 1


async def test_a_failure_gives_the_place_back():
    admission = Admission(1, 0)
    with pytest.raises(ZeroDivisionError):
        async with admission.slot():
            _ = 1 / 0
    assert admission.running == 0
