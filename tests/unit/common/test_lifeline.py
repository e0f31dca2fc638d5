"""Children end with their parent, even one that is killed."""

import signal
import subprocess
import sys

import psutil

# A family of three, as vLLM's is: each waits for ever, and the parent tells their ids.
PARENT = """
import multiprocessing, os, time
from services.common.lifeline import children_die_with_us
from tests.unit.generate.family import child
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ids = context.Queue()
    with children_die_with_us():
        context.Process(target=child, args=(ids, 1)).start()
    print(ids.get(), ids.get(), flush=True)
    time.sleep(60)
"""


def test_children_and_their_children_end_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    family = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(family) == 2
    assert all(member.is_running() for member in family)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(family, 10)
    assert not alive
