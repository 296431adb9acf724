"""How far a work of several parts is, and what is shown of it."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gliomask.cli.progress import LINE_SECONDS, CohortDisplay, Lines, work_bar
from gliomask.progress import ALL, parts


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=4), st.integers(1, 7))
def test_parts_move_one_bar_from_nothing_to_all_and_never_back(shares, steps):
    seen = []
    for part in parts(lambda done, total: seen.append((done, total)), shares):
        for n in range(steps + 1):
            part(n, steps)
    done = [value for value, _ in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, ALL)
    assert {total for _, total in seen} == {ALL}


def test_a_part_of_no_share_does_not_move_the_bar():
    seen = []
    first, second = parts(lambda done, total: seen.append(done), (1, 0))
    first(1, 1)
    second(1, 1)
    assert seen == [ALL, ALL]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_without_a_terminal_short_work_is_silent_and_long_work_says_so_now_and_then(capsys):
    clock = Clock()
    lines = Lines("patient", clock)
    for second in range(int(LINE_SECONDS * 3) + 1):
        clock.now = float(second)
        lines(second, 100)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "patient: 20% done, about 1 min 20 s left"
    assert len(printed) == 3
    # The first hundredth took long: 2 h 34 min were promised for a case of one minute.
    slow = Lines("patient", clock)
    clock.now += LINE_SECONDS
    slow(1, 100)
    assert capsys.readouterr().err == "patient: 1% done\n"
    quick = Lines("patient", clock)
    quick(1, 2)
    quick(2, 2)
    assert capsys.readouterr().err == ""


def test_the_bar_of_a_cohort_moves_within_a_case():
    stream = io.StringIO()
    with work_bar(Console(file=stream, force_terminal=True, width=100)) as bar:
        display = CohortDisplay(4, bar)
        display.within(500, 1000)
        assert bar.tasks[0].completed == 0.5
        display.ended()
        assert bar.tasks[0].completed == 1
        display.within(250, 1000)
        assert bar.tasks[0].completed == 1.25
