"""A process that has a child of its own, and waits."""

import multiprocessing
import os
import time


def child(ids, generations):
    ids.put(os.getpid())
    if generations:
        multiprocessing.get_context("spawn").Process(target=child, args=(ids, generations - 1)).start()
    time.sleep(60)
