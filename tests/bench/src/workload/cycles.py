"""Rings of ten lists, as the workloads of `cycles.rs` make them: one line of nanoseconds for each batch.

Arguments: the number of lists, the number of batches. Columns: making and linking, collecting while
all are alive, collecting when all are dead.
"""

import gc
import sys
from time import thread_time_ns


def ring():
    first = [None]
    last = first
    for _ in range(9):
        last = [last]
    first[0] = last
    return first


def nanoseconds(work):
    before = thread_time_ns()
    work()
    return thread_time_ns() - before


lists, batches = int(sys.argv[1]), int(sys.argv[2])
gc.disable()
for _ in range(batches):
    rings = []
    made = nanoseconds(lambda: rings.extend(ring() for _ in range(lists // 10)))
    alive = nanoseconds(gc.collect)
    rings.clear()
    dead = nanoseconds(gc.collect)
    print(made, alive, dead)
