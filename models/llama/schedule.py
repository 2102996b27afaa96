"""Who is served next: priority classes, fairness inside a class, and adapter cohorts.

A class goes before all lower ones. Inside a class what is asked before its time waits for what is wanted sooner; else askers take turns by start-time fair queueing
(Goyal, Vin and Cheng, 1996): each request starts at the virtual time at which its asker's earlier
ones are paid for, so that one who asks a hundred times waits for its own hundred and nobody else does.
Where that leaves several with the same turn, the earliest deadline goes first (Liu and Layland, 1973): turns
go before deadlines, so that nobody comes to more than its share by being always in a hurry.

A step runs under one LoRA adapter, so requests are decoded in cohorts. A cohort keeps the context
for `hold_s` while others of the same urgency wait and fill; then it is the turn of the one that was
served longest ago. A more urgent request takes the context at once, and no cohort waits longer than
`STARVED_S` for a less urgent reason than speech. Nor does one cohort take all the KV memory: each adapter
has an equal part of it to promise while requests under others wait.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence

from models.llama.job import Job
from models.request import Priority

STARVED_S = 1.0
_ASKERS = 4096


class Schedule:
    """The requests of one engine: `waiting` and `active`, each sorted, the most urgent first.

    At most `most_active` are active; `most_waiting` bounds the others.
    """

    def __init__(self, most_active: int, most_waiting: int, hold_s: float) -> None:
        self.waiting: list[Job] = []
        self.active: list[Job] = []
        self.switches = 0
        self._most_active = most_active
        self._most_waiting = most_waiting
        self._hold_s = hold_s
        self._virtual: dict[int, float] = {}
        self._paid: dict[tuple[int, str], float] = {}
        self._current: str | None = None
        self._since = 0.0
        self._served: dict[str, float] = {}

    # Order

    def admit(self, job: Job) -> Job | None:
        """Take a new request; returns the least urgent one when that is one too many."""
        key = (job.priority, job.asker)
        job.turn = max(self._virtual.get(job.priority, 0.0), self._paid.get(key, 0.0))
        self._paid[key] = job.turn + job.cost
        if len(self._paid) > _ASKERS:
            self._forget_paid()
        insort(self.waiting, job, key=_rank)
        if len(self.waiting) <= self._most_waiting:
            return None
        surplus = self.waiting.pop()
        self._refund(surplus)
        return surplus

    def start(self, job: Job) -> None:
        """Move a request from waiting to active."""
        self.waiting.remove(job)
        insort(self.active, job, key=_rank)
        self._virtual[job.priority] = max(self._virtual.get(job.priority, 0.0), job.turn)

    def put_back(self, job: Job) -> None:
        """Move a request from active to waiting; it keeps its turn."""
        self.active.remove(job)
        insort(self.waiting, job, key=_rank)

    def remove(self, job: Job) -> None:
        """Forget a request that has ended; one that was never begun cost its asker nothing."""
        if job in self.active:
            self.active.remove(job)
            return
        self.waiting.remove(job)
        self._refund(job)

    def _refund(self, job: Job) -> None:
        """Take back what one that was never begun was to cost; what it kept behind it moves up."""
        key = (job.priority, job.asker)
        if job.cached >= 0 or key not in self._paid:
            return
        self._paid[key] -= job.cost
        now = self._virtual.get(job.priority, 0.0)
        for each in self.waiting:
            if (each.priority, each.asker) == key and each.turn > job.turn:
                each.turn = max(each.turn - job.cost, min(each.turn, now))
        self.waiting.sort(key=_rank)

    def find(self, request_id: int) -> Job | None:
        """The request of that id, None when it has ended."""
        for job in (*self.active, *self.waiting):
            if job.id == request_id:
                return job
        return None

    def late(self, now: float) -> list[Job]:
        """The requests whose deadline has passed."""
        return [job for job in (*self.active, *self.waiting) if job.deadline <= now]

    def next(self, count: int) -> list[Job]:
        """The first `count` that wait, and of each adapter that has none among them the first."""
        chosen = self.waiting[:count]
        adapters = {job.adapter for job in chosen}
        for job in self.waiting[count:]:
            if job.adapter not in adapters:
                adapters.add(job.adapter)
                chosen.append(job)
        return chosen

    def crowds(
        self, job: Job, among: Sequence[Job], cells: int, claim: Callable[[Job], int]
    ) -> bool:
        """Whether with a waiting request its adapter would hold more than its part of `cells`.

        It may while nobody else could use them: no request `among` those waiting that is as urgent,
        under another adapter and within its part. `claim` is what a request holds at the most.
        """
        others = [
            each
            for each in among
            if each.adapter != job.adapter and each.priority <= job.priority and each.sequence < 0
        ]
        if not others:
            return False
        held = Counter({job.adapter: 0})
        for each in self.active:
            held[each.adapter] += claim(each)
        part = cells / len(held.keys() | {each.adapter for each in others})

        def over(each: Job) -> bool:
            return 0 < held[each.adapter] > part - claim(each)

        return over(job) and not all(map(over, others))

    @property
    def full(self) -> bool:
        """Whether no more requests can be active."""
        return len(self.active) >= self._most_active

    def _forget_paid(self) -> None:
        """Drop the askers who owe nothing; if that is not enough, those who owe least."""
        owing = {k: v for k, v in self._paid.items() if v > self._virtual.get(k[0], 0.0)}
        most = sorted(owing, key=owing.__getitem__, reverse=True)[: _ASKERS // 2]
        self._paid = {key: owing[key] for key in most}

    # Cohorts

    def cohort(self, now: float) -> str | None:
        """Under which adapter the next step runs; None when nothing is active."""
        heads: dict[str, Job] = {}
        for job in self.active:
            heads.setdefault(job.adapter, job)
        if not heads:
            return None
        urgency = self.active[0].priority
        first = {adapter for adapter, job in heads.items() if job.priority == urgency}
        chosen = self._current
        if chosen not in first:
            chosen = self._longest_unserved(first)
        elif len(heads) > 1 and now - self._since >= self._hold_s:
            starved = {
                adapter
                for adapter in heads
                if now - self._served.setdefault(adapter, now) >= STARVED_S
            }
            others = (starved if urgency > Priority.SPEECH else set()) or first - {chosen}
            chosen = self._longest_unserved(others) if others else chosen
        if chosen != self._current:
            self.switches += self._current is not None
            self._current, self._since = chosen, now
        elif len(heads) == 1:
            self._since = now
        assert chosen is not None
        self._served = {adapter: self._served.get(adapter, now) for adapter in heads}
        self._served[chosen] = now
        return chosen

    def _longest_unserved(self, adapters: set[str]) -> str:
        return min(adapters, key=lambda adapter: (self._served.get(adapter, 0.0), adapter))

    def due(self, adapter: str) -> list[Job]:
        """The active requests of a cohort, in order.

        While a player waits for a first word, speech is decoded alone: a batch takes longer the more
        ride along.
        """
        jobs = [job for job in self.active if job.adapter == adapter]
        if any(job.priority == Priority.SPEECH and not job.generated for job in jobs):
            return [job for job in jobs if job.priority == Priority.SPEECH]
        return jobs


def _rank(job: Job) -> tuple[int, int, float, float, int]:
    return job.rank
