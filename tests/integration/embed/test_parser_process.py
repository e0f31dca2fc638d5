"""Hostile files end as refusals, in time, and the next file is read."""

import asyncio
import os
import signal
import sys

import psutil
import pytest

from services.embed.adapters.parser_process import ParseLimits, open_parser
from services.embed.domain import Change, DocumentTooLarge, EmptyDocument, ParserCrashed, ParseTimeout

LIMITS = ParseLimits(max_bytes=50_000_000, max_characters=1_000_000, seconds=60, memory_bytes=2 * 1024**3)
CHANGE = Change("t", "d", 1, external_id="a.html")
PAGE = b"<html><body><h1>Still here</h1></body></html>"


def slow_page() -> bytes:
    return b"<html><body>" + b"<p>word <b>bold</b></p>" * 200_000 + b"</body></html>"


def parser_processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_what_takes_too_long_is_stopped_and_the_next_file_is_read():
    async with open_parser(ParseLimits(50_000_000, 10_000_000, 1.5, 2 * 1024**3)) as parser:
        with pytest.raises(ParseTimeout):
            await parser.parse(slow_page(), CHANGE)
        async with asyncio.timeout(60):
            assert (await parser.parse(PAGE, CHANGE)).text == "# Still here"


async def test_what_needs_too_much_memory_is_refused_and_the_next_file_is_read():
    # One long text, for half a tree of many nodes may take longer to let go of than the time limit.
    page = b"<html><body><p>" + b"word " * 3_000_000 + b"</p></body></html>"
    async with open_parser(ParseLimits(50_000_000, 500_000_000, 60, 60 * 1024**2)) as parser:
        with pytest.raises(ParserCrashed):
            await parser.parse(page, CHANGE)
        assert (await parser.parse(PAGE, CHANGE)).text == "# Still here"
    async with open_parser(ParseLimits(50_000_000, 500_000_000, 60, 2 * 1024**3)) as parser:
        assert (await parser.parse(page, CHANGE)).text.startswith("word word")


async def test_a_parser_that_dies_refuses_one_file_only():
    before = parser_processes()
    async with open_parser(LIMITS) as parser:
        parsing = asyncio.create_task(parser.parse(slow_page(), CHANGE))
        await asyncio.sleep(0.5)
        leaves = [pid for pid in parser_processes() - before if not psutil.Process(pid).children()]
        for pid in leaves:
            if "resource_tracker" not in " ".join(psutil.Process(pid).cmdline()):
                os.kill(pid, signal.SIGSEGV)
        with pytest.raises(ParserCrashed):
            await parsing
        assert (await parser.parse(PAGE, CHANGE)).text == "# Still here"


async def test_large_and_empty_files_never_reach_it():
    async with open_parser(ParseLimits(10, 100, 10, 2 * 1024**3)) as parser:
        with pytest.raises(DocumentTooLarge):
            await parser.parse(b"x" * 11, CHANGE)
        with pytest.raises(EmptyDocument):
            await parser.parse(b" \n", CHANGE)


async def test_the_parser_never_holds_the_model():
    before = parser_processes()
    async with open_parser(LIMITS) as parser:
        await parser.parse(PAGE, CHANGE)
        children = [psutil.Process(pid) for pid in parser_processes() - before]
        loaded = "".join(region.path for child in children for region in child.memory_maps())
    assert children
    assert "libtorch" not in loaded
    assert "openvino" not in loaded
    assert sys.platform == "linux"
