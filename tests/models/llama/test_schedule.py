"""Who is served next: classes, turns inside a class, cohorts by adapter."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.llama.job import Job
from models.llama.schedule import STARVED_S, Schedule
from models.request import Priority
from models.text import TextStream

_numbers = itertools.count(1)


def job(
    priority: int = Priority.NEAR,
    *,
    asker: str = "",
    adapter: str = "",
    max_tokens: int = 10,
    deadline: float = 1e9,
    wanted: int = 0,
) -> Job:
    number = next(_numbers)
    return Job(
        id=number, arrival=number, priority=priority, deadline=deadline, tokens=[1],
        prompt=np.array([1], dtype=np.int32), max_tokens=max_tokens, temperature=0.0, top_p=1.0,
        seed=0, text=TextStream(), asker=asker, adapter=adapter, wanted=wanted,
    )  # fmt: skip


def schedule(most_active: int = 8, most_waiting: int = 99, hold_s: float = 0.1) -> Schedule:
    return Schedule(most_active, most_waiting, hold_s)


def started(plan: Schedule, *jobs: Job) -> None:
    for each in jobs:
        plan.admit(each)
        plan.start(each)


def test_a_class_goes_before_all_lower_ones() -> None:
    plan = schedule()
    late, early = job(Priority.OFFSTAGE), job(Priority.SPEECH)
    plan.admit(late)
    plan.admit(early)
    assert plan.waiting == [early, late]


def test_what_is_asked_before_its_time_waits_for_what_is_wanted_sooner() -> None:
    plan = schedule()
    later, sooner, now = job(wanted=1000), job(wanted=40, asker="b"), job(asker="c")
    for each in (later, sooner, now):
        plan.admit(each)
    assert plan.waiting == [now, sooner, later]


def test_one_who_asks_a_hundred_times_waits_for_its_own_hundred() -> None:
    plan = schedule(most_waiting=200)
    for _ in range(100):
        plan.admit(job(asker="npc:1"))
    other = job(asker="npc:2")
    plan.admit(other)
    assert plan.waiting.index(other) == 1


def test_askers_of_equal_requests_take_turns() -> None:
    plan = schedule(most_waiting=200)
    for asker in ("a", "b", "c"):
        for _ in range(3):
            plan.admit(job(asker=asker))
    assert [each.asker for each in plan.waiting] == ["a", "b", "c"] * 3


def test_a_newcomer_owes_nothing_for_the_time_before_it_came() -> None:
    plan = schedule(most_waiting=200)
    for _ in range(5):
        each = job(asker="old")
        started(plan, each)
        plan.remove(each)
    newcomer, old = job(asker="new"), job(asker="old")
    plan.admit(old)
    plan.admit(newcomer)
    assert plan.waiting == [newcomer, old]


def test_one_who_withdraws_what_was_never_begun_owes_nothing_for_it() -> None:
    plan = schedule(most_waiting=200)
    withdrawn = [job(asker="a") for _ in range(50)]
    for each in withdrawn:
        plan.admit(each)
    for each in withdrawn:
        plan.remove(each)
    again, other = job(asker="a"), job(asker="b")
    plan.admit(again)
    plan.admit(other)
    assert plan.waiting == [again, other]


def test_what_waited_behind_a_withdrawn_request_of_its_asker_moves_up() -> None:
    plan = schedule()
    first, second, third = (job(asker="a") for _ in range(3))
    one, two = (job(asker="b") for _ in range(2))
    for each in (first, second, third, one, two):
        plan.admit(each)
    assert plan.waiting == [first, one, second, two, third]
    plan.remove(first)
    assert plan.waiting == [second, one, third, two]


def test_one_who_is_refused_for_a_full_queue_owes_nothing_for_it() -> None:
    plan = schedule(most_waiting=1)
    held = job(asker="b")
    plan.admit(held)
    for _ in range(50):
        assert plan.admit(each := job(asker="a")) is each
    plan.start(held)
    again = job(asker="a")
    assert plan.admit(again) is None
    assert again.turn == 0.0


def test_of_those_whose_turn_it_is_the_one_that_is_due_first_goes_first() -> None:
    plan = schedule()
    patient, hurried = job(asker="a", deadline=90.0), job(asker="b", deadline=5.0)
    speech = job(Priority.SPEECH, asker="c", deadline=99.0)
    for each in (patient, hurried, speech):
        plan.admit(each)
    assert plan.waiting == [speech, hurried, patient]


def test_one_who_is_always_in_a_hurry_gets_no_more_than_its_turn() -> None:
    plan = schedule(most_waiting=200)
    for n in range(50):
        plan.admit(job(asker="hurried", deadline=1.0 + n))
    patient = job(asker="patient", deadline=900.0)
    plan.admit(patient)
    assert plan.waiting.index(patient) == 1


def test_one_too_many_pushes_out_the_least_urgent() -> None:
    plan = schedule(most_waiting=2)
    least = job(Priority.OFFSTAGE)
    assert plan.admit(least) is None
    assert plan.admit(job(Priority.NEAR)) is None
    assert plan.admit(job(Priority.SPEECH)) is least
    assert len(plan.waiting) == 2


def test_a_cohort_holds_the_context_for_its_time_and_then_it_is_the_other_ones_turn() -> None:
    plan = schedule(hold_s=0.1)
    started(plan, job(adapter="wolf"), job(adapter="elf"))
    first = plan.cohort(10.0)
    assert plan.cohort(10.05) == first
    second = plan.cohort(10.11)
    assert {first, second} == {"wolf", "elf"}
    assert plan.cohort(10.22) == first
    assert plan.switches == 2


def test_a_cohort_that_is_alone_takes_the_context_from_nobody() -> None:
    plan = schedule()
    for now in (10.0, 20.0):
        each = job()
        started(plan, each)
        assert plan.cohort(now) == ""
        plan.remove(each)
        assert plan.cohort(now + 1.0) is None
    assert plan.switches == 0


def test_a_more_urgent_request_takes_the_context_at_once() -> None:
    plan = schedule()
    started(plan, job(Priority.NEAR, adapter="wolf"))
    assert plan.cohort(1.0) == "wolf"
    started(plan, job(Priority.SPEECH, adapter="elf"))
    assert plan.cohort(1.001) == "elf"


def test_no_cohort_waits_for_ever_for_a_less_urgent_reason_than_speech() -> None:
    plan = schedule(hold_s=0.1)
    started(plan, job(Priority.NEAR, adapter="wolf"), job(Priority.OFFSTAGE, adapter="elf"))
    ran = [plan.cohort(at / 100) for at in range(100, 400)]
    assert "elf" in ran and ran.count("elf") < ran.count("wolf") / 2
    longest = max(len(list(group)) for key, group in itertools.groupby(ran) if key == "wolf")
    assert longest / 100 <= STARVED_S + 0.2


def test_no_adapter_takes_more_than_its_part_of_the_cells_while_others_could_use_them() -> None:
    plan = schedule()
    wolves = [job(adapter="wolf", max_tokens=30) for _ in range(3)]
    elf = job(Priority.NEAR, adapter="elf", max_tokens=20)
    started(plan, wolves[0])
    for each in (*wolves[1:], elf):
        plan.admit(each)

    def crowds(each: Job) -> bool:
        return plan.crowds(each, plan.waiting, 100, lambda one: one.max_tokens)

    # 30 of 50 cells are the wolves': a second one would be over their half.
    assert [crowds(each) for each in (*wolves[1:], elf)] == [True, True, False]
    urgent = job(Priority.SPEECH, adapter="wolf", max_tokens=30)
    plan.admit(urgent)
    assert not crowds(urgent)
    plan.start(elf)
    assert not crowds(wolves[1])
    more = [job(adapter=name, max_tokens=90) for name in ("elf", "cook")]
    plan.admit(more[0])
    # Each is over its half, so that neither can use what the other leaves.
    assert not crowds(wolves[1]) and not crowds(more[0])
    plan.admit(more[1])
    assert crowds(wolves[1]) and crowds(more[0]) and not crowds(more[1])


def test_a_crowd_of_one_adapter_does_not_hide_the_others() -> None:
    plan = schedule()
    wolves, elf = [job(adapter="wolf") for _ in range(9)], job(adapter="elf")
    for each in (*wolves, elf, job(adapter="elf")):
        plan.admit(each)
    assert plan.next(4) == [*wolves[:4], elf]


def test_one_alone_may_be_larger_than_its_adapters_part() -> None:
    plan = schedule()
    plan.admit(job(adapter="wolf", max_tokens=90))
    plan.admit(job(adapter="elf", max_tokens=90))
    assert not any(plan.crowds(each, plan.waiting, 100, lambda _: 90) for each in plan.waiting)


def test_while_a_player_waits_for_a_first_word_speech_is_decoded_alone() -> None:
    plan = schedule()
    speech, other = job(Priority.SPEECH), job(Priority.NEAR)
    started(plan, speech, other)
    assert plan.due("") == [speech]
    speech.generated = 1
    assert plan.due("") == [speech, other]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Priority)), st.sampled_from("abc"), st.integers(1, 200)),
        max_size=40,
    )
)
def test_everybody_is_served_and_the_order_never_breaks_a_class(
    asks: list[tuple[Priority, str, int]],
) -> None:
    plan = schedule()
    for priority, asker, size in asks:
        plan.admit(job(priority, asker=asker, max_tokens=size))
    served = []
    while plan.waiting:
        each = plan.waiting[0]
        plan.start(each)
        plan.remove(each)
        served.append(each)
    assert [each.priority for each in served] == sorted(each.priority for each in served)
    assert len(served) == len(asks)
