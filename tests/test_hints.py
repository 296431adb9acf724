"""What a command line that was not understood may have meant."""

import pytest

from gliomask.cli.main import run


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["segment", "-i", "scans", "-o", "out"], "The scans need no option"),
        (["segment", "--input=scans", "-o", "out"], "The scans need no option"),
        (["segment", "scans", "-o", "out", "-device", "cpu"], "works on the CPU"),
        (["segment", "scans", "-o", "out", "--device", "cuda"], "works on the CPU"),
        (["segment", "scans", "-o", "out", "-threads", "4"], "begin with two dashes: --threads"),
        (["segment", "scans", "-o", "out", "-m", "dense"], "--network"),
        (["segment", "scans", "-o", "out", "--networc", "dense"], "--network"),
        (["segmnt", "scans"], "Did you mean segment"),
        (["sumarize", "out"], "Did you mean summarise"),
        (["xyzzy"], "gliomask --help lists all"),
        (["dicom", "inspct", "x"], "inspect"),
    ],
)
def test_a_mistake_gets_a_hint_and_exit_code_2(words, hint, capsys):
    assert run(words) == 2
    assert hint in capsys.readouterr().err


def test_what_cannot_be_told_gets_no_hint(capsys):
    assert run(["segment", "scans", "-o", "out", "-z"]) == 2
    assert "Hint" not in capsys.readouterr().err


def test_a_mistyped_command_cannot_steer_the_terminal(capsys):
    assert run(["seg\x1b[31mment"]) == 2
    assert "\x1b" not in capsys.readouterr().err
