"""Ties a child's life to its parent's, however the parent ends."""

import contextlib
import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; Linux only."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def children_die_with_us() -> Iterator[None]:
    """Tie what multiprocessing spawns in here, and what that spawns in its turn, to this process.

    A spawned child begins by running its parent's main module as "__mp_main__", found by its
    spec, before anything else. In here that module is this one.
    """
    main = sys.modules["__main__"]
    spec = main.__spec__
    main.__spec__ = importlib.util.find_spec(__name__)
    try:
        yield
    finally:
        main.__spec__ = spec


if __name__ == "__mp_main__":
    die_with_parent()
