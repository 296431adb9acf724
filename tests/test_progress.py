import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from gliomask.cli.progress import Described, TrainingDisplay, work_bar


def Step(epoch, epochs, step, steps, loss):
    """As `training.loop.Step`, which would bring Keras with it."""
    return SimpleNamespace(epoch=epoch, epochs=epochs, step=step, steps=steps, loss=loss)


def display_on(terminal: bool) -> TrainingDisplay:
    return TrainingDisplay(Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None))


def text_of(display: TrainingDisplay) -> str:
    return display.console.file.getvalue()


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "loss": 0.25, "seconds": 2.0, "waiting_share": 0.001}


def test_away_from_a_terminal_there_is_a_line_for_the_reading_and_for_each_epoch():
    with display_on(False) as display:
        for n in (1, 2, 3):
            display.read(f"case{n}", n, 3)
        for step in (1, 2):
            display.step(Step(1, 3, step, 2, 0.5))
        display.epoch([row(1)])
    lines = text_of(display).splitlines()
    assert lines[0] == "read 3 cases"
    assert lines[1].startswith("epoch 1  loss 0.25  seconds 2  waiting_share 0.001  left ")
    assert len(lines) == 2


def test_time_left_counts_the_steps_of_this_process_alone(monkeypatch):
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    display = display_on(False)
    # Going on after 5 of 10 epochs of 4 steps: steps 21, 22, 23 of 40, ten seconds apart.
    for step in (1, 2, 3):
        display.step(Step(6, 10, step, 4, 0.5))
    assert display.left_s == pytest.approx(170.0)


def test_on_a_terminal_there_is_a_bar():
    with display_on(True) as display:
        display.read("case1", 1, 1)
        display.step(Step(1, 2, 1, 4, 0.5))
        display.step(Step(1, 2, 2, 4, 0.4321))
        display.epoch([row(1)])
    text = text_of(display)
    assert "loss 0.4321" in text
    assert "2/8" in text


def test_brackets_in_names_are_text():
    display = display_on(False)
    display.note("[bold]cases[/bold] [1]")
    assert text_of(display) == "[bold]cases[/bold] [1]\n"


def test_an_interrupt_says_what_is_kept():
    def interrupt(display, step):
        with display:
            if step:
                display.step(Step(1, 2, 1, 4, 0.5))
            raise KeyboardInterrupt

    for step, message in ((True, "last finished epoch is kept"), (False, "")):
        display = display_on(False)
        with pytest.raises(KeyboardInterrupt):
            interrupt(display, step)
        assert message in text_of(display)
        assert bool(text_of(display)) == bool(message)


@pytest.mark.parametrize("bar", [lambda console: Progress(Described(), console=console), work_bar])
def test_names_in_bars_are_shown_letter_by_letter(bar):
    console = Console(file=io.StringIO(), force_terminal=False, width=120, color_system=None)
    with bar(console) as shown:
        shown.add_task("scored x\x1b[31m[red]", total=1, completed=1)
    text = console.file.getvalue()
    assert "scored x\\x1b[31m[red]" in text
    assert "\x1b" not in text
