"""What commands say of what the library logs: on the screen, with `--verbose`, and in a file."""

import logging

import click
import pytest

from gliomask.cli.logs import with_log_options
from gliomask.cli.main import run


@click.command()
@click.option("--fail", is_flag=True)
def speaking(fail):
    """Logs as the library does."""
    log = logging.getLogger("gliomask.somewhere")
    log.info("done: %s", "\x1b[31mred")
    log.debug("gain 1.5")
    if fail:
        from gliomask.errors import CaseError

        raise CaseError("Case x: missing t1.")


def test_the_screen_shows_what_was_done_and_measures_only_where_asked(capsys):
    assert run([], speaking) == 0
    assert capsys.readouterr().err == "done: \\x1b[31mred\n"
    assert run(["--verbose"], speaking) == 0
    assert capsys.readouterr().err == "done: \\x1b[31mred\ngain 1.5\n"


def test_a_log_file_has_everything_with_times_after_what_it_held(tmp_path, capsys):
    path = tmp_path / "run.log"
    path.write_text("before\n")
    assert run(["--log-file", str(path)], speaking) == 0
    first, done, gain = path.read_text().splitlines()
    assert first == "before"
    assert done.endswith(" INFO gliomask.somewhere: done: \\x1b[31mred")
    assert gain.endswith(" DEBUG gliomask.somewhere: gain 1.5")
    assert "gain" not in capsys.readouterr().err


def test_a_log_file_says_where_an_error_came_from_and_the_screen_says_it_once(tmp_path, capsys):
    path = tmp_path / "run.log"
    assert run(["--fail", "--log-file", str(path)], speaking) == 3
    assert capsys.readouterr().err.count("missing t1") == 1
    text = path.read_text()
    assert "ERROR gliomask: Case x: missing t1." in text
    assert "Traceback" in text


def test_a_log_file_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys):
    assert run(["--log-file", str(tmp_path / "no" / "folder.log")], speaking) == 2
    printed = capsys.readouterr().err
    assert "--log-file" in printed
    assert "done" not in printed


def test_nothing_stays_when_the_command_has_ended():
    logger = logging.getLogger("gliomask")
    before = (logger.level, list(logger.handlers))
    run(["--verbose"], speaking)
    assert (logger.level, list(logger.handlers)) == before


def test_the_library_by_itself_is_quiet(capsys):
    logging.getLogger("gliomask.somewhere").warning("heard by nobody")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["segment"], ["dicom", "inspect"], ["models", "list"], ["bids"], ["cohort", "run"]])
def test_every_command_has_the_options_once(words, capsys):
    for _ in range(2):
        assert run([*words, "--help"]) == 0
        printed = capsys.readouterr().out
        assert printed.count("--verbose") == 1
        assert printed.count("--log-file") == 1


def test_options_are_not_given_twice():
    command = with_log_options(with_log_options(click.Command("x")))
    assert [param.name for param in command.params] == ["verbose", "log_file"]


def test_a_pipe_is_no_log_file(tmp_path, capsys):
    import os

    os.mkfifo(tmp_path / "pipe")
    assert run(["models", "list", "--log-file", str(tmp_path / "pipe")]) == 2
    assert "is a pipe" in capsys.readouterr().err
