"""List scheduling (Graham, SIAM J. Applied Mathematics 17 (1969) 416): a free worker takes the first job of a list that can start.

Workers are of kinds, such as CPU cores and GPUs; each job takes one worker of its kind.
"""

from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from workflow.scripts.snakemake_log import Job

Dependencies = Mapping[int, set[int]]


def dependencies(jobs: Mapping[int, Job]) -> Dependencies:
    """Return the jobs that make the inputs of each job."""
    makers = {path: number for number, job in jobs.items() for path in job.output}
    return {number: {makers[path] for path in job.input if path in makers} for number, job in jobs.items()}


def makespan(seconds: Mapping[int, float], needs: Dependencies, workers: Mapping[str, int], kinds: Mapping[int, str]) -> float:
    """Return the seconds until the last job ends, with so many ``workers`` of each kind; the list is in the order of the jobs' numbers."""
    missing = Counter({job: len(needs[job]) for job in seconds})
    users: dict[int, list[int]] = {job: [] for job in seconds}
    for job, needed in needs.items():
        for other in needed:
            users[other].append(job)
    ready: dict[str, list[int]] = {kind: sorted(job for job in seconds if kinds[job] == kind and not missing[job]) for kind in workers}
    free = dict(workers)
    running: list[tuple[float, int]] = []
    now = 0.0
    while running or any(ready.values()):
        for kind, waiting in ready.items():
            while waiting and free[kind]:
                job = heappop(waiting)
                free[kind] -= 1
                heappush(running, (now + seconds[job], job))
        now, ended = heappop(running)
        free[kinds[ended]] += 1
        for job in users[ended]:
            missing[job] -= 1
            if not missing[job]:
                heappush(ready[kinds[job]], job)
    return now


def critical_path(seconds: Mapping[int, float], needs: Dependencies) -> float:
    """Return the seconds of the longest chain of jobs that need each other, the minimum for any number of workers."""
    ends: dict[int, float] = {}
    for job in TopologicalSorter(needs).static_order():
        ends[job] = seconds[job] + max((ends[other] for other in needs[job]), default=0.0)
    return max(ends.values())
