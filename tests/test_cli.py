import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from conftest import DEFAULT_SIGNALS

import gliomask.cli.main
from gliomask import __version__
from gliomask.cli import main
from gliomask.cli.kinds import GivenPath
from gliomask.cli.main import COMMANDS, run
from gliomask.cli.say import echo
from gliomask.errors import (
    CaseError,
    EngineUnavailableError,
    GliomaskError,
    LimitError,
    ModelError,
    QualityError,
    UsageError,
)


@pytest.fixture
def command_that(monkeypatch):
    """Adds a command `probe` that does what the test says."""

    def make(action):
        module = ModuleType("gliomask.cli.probe")
        module.command = click.command("probe")(action)
        monkeypatch.setitem(sys.modules, "gliomask.cli.probe", module)
        monkeypatch.setitem(main.COMMANDS, "probe", "A probe.")

    return make


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("wrong option"), 2),
        (click.UsageError("wrong option"), 2),
        (CaseError("wrong option"), 3),
        (ModelError("wrong option"), 4),
        (EngineUnavailableError("wrong option"), 4),
        (LimitError("wrong option"), 5),
        (QualityError("wrong option"), 6),
        (GliomaskError("wrong option"), 1),
        (OSError(errno.EACCES, "wrong option", "file.nii"), 1),
    ],
)
def test_errors_become_a_message_and_an_exit_code(command_that, capsys, error, code):
    command_that(raising(error))
    assert run(["probe"]) == code
    captured = capsys.readouterr()
    assert "wrong option" in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_full_disk_is_a_limit_and_the_message_says_what_to_do(command_that, capsys):
    command_that(raising(OSError(errno.ENOSPC, "No space left on device", "out.nii.gz")))
    assert run(["probe"]) == 5
    error = capsys.readouterr().err
    assert "out.nii.gz" in error
    assert "Make room" in error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(command_that, capsys, error):
    command_that(raising(error))
    assert run(["probe"]) == 130
    assert capsys.readouterr().err.endswith("Interrupted.\n")


def test_too_little_memory_is_a_limit(command_that, capsys):
    command_that(raising(MemoryError()))
    assert run(["probe"]) == 5
    assert "out of memory" in capsys.readouterr().err


def test_what_nobody_expected_is_not_hidden(command_that):
    command_that(raising(ZeroDivisionError("a defect")))
    with pytest.raises(ZeroDivisionError):
        run(["probe"])


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_a_command_may_return_its_exit_code(command_that, result, code):
    command_that(lambda: result)
    assert run(["probe"]) == code


def test_help_lists_every_command_with_its_line_and_the_exit_codes(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, line in COMMANDS.items():
        assert f"  {name} " in text
        assert line in text
    assert "Exit codes: 0 done, 2 usage" in text
    assert "not a medical device" in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_an_example(capsys, name):
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"gliomask {name}" in text.partition("Example")[2]
    assert "\\b" not in text


def test_version(capsys):
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["train", "--fold", "first"]])
def test_usage_errors_are_two(capsys, arguments):
    assert run(arguments) == 2
    assert "Error" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys):
    code = run([])
    captured = capsys.readouterr()
    assert code == 2
    assert "segment" in captured.out + captured.err


def test_main_exits_with_the_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gliomask", "--version"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_run_cleanly(tmp_path, name, code):
    script = """
import sys, time
from pathlib import Path
import click
from gliomask.cli.main import run
from gliomask.errors import EngineUnavailableError
from gliomask.files.atomic import temporary_folder

@click.command()
def command():
    with temporary_folder(Path(sys.argv[1])) as folder:
        (folder / "patient").touch()
        print("busy", flush=True)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            # As libraries do that are interrupted while they are imported.
            raise EngineUnavailableError("The engine cannot be imported.")

sys.exit(run([], command))
"""
    with subprocess.Popen(
        [sys.executable, "-c", DEFAULT_SIGNALS + script, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(getattr(signal, name))
        _, messages = process.communicate()
    assert process.returncode == code
    assert messages.splitlines()[-1] in ("Terminated.", "Interrupted.")
    assert "Traceback" not in messages
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_letters_that_the_terminal_lacks_are_shown_as_codes(tmp_path, encoding):
    place = tmp_path / "M\u00fcller \u8133"
    for arguments in (
        ["segment", str(place), "-o", str(tmp_path / "o")],
        ["evaluate", str(place), str(place), "-o", str(tmp_path / "o")],
    ):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "gliomask", *arguments], capture_output=True, env=environment, check=False
        )
        assert done.returncode in (2, 3)
        assert b"Traceback" not in done.stderr
        assert b"does not exist" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_stderr_on_a_full_device_leaves_the_exit_code(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "gliomask", "segment", str(tmp_path), "-o", str(tmp_path)], stderr=full, check=False
        )
    assert done.returncode == 3


def test_commands_print_by_the_one_function_that_shows_control_characters(capsys):
    """`segment` and `progress` have rules of their own and are looked at by their own tests."""
    folder = Path(gliomask.cli.main.__file__).parent
    direct = [
        path.name
        for path in sorted(folder.glob("*.py"))
        if re.search(r"click\.echo\(|(?<![\w.])print\(", path.read_text(encoding="utf-8"))
    ]
    assert set(direct) <= {"say.py", "segment.py"}
    echo("a\x1b[2J\nb\u202e", err=True)
    assert capsys.readouterr().err == "a\\x1b[2J\nb\\u202e\n"


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_path_is_a_usage_error(value, capsys, tmp_path):
    assert run(["evaluate", str(tmp_path), str(tmp_path), "-o", value]) == 2
    assert "is empty. Give a path" in capsys.readouterr().err


def commands_of(group, path=()):
    """Every command that can be typed, with the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands_of(command, (*path, name))
        else:
            yield (*path, name), command


def test_no_command_takes_an_empty_path_for_the_working_folder():
    """An unset variable of a script gives one: `gliomask segment "$CASE" -o "$OUT"`."""
    found = [
        (words, param.name, param.type)
        for words, command in commands_of(main.gliomask)
        for param in command.params
        if isinstance(param.type, click.Path) and param.name != "log_file"
    ]
    assert len(found) > 60
    assert [words for words, _, kind in found if not isinstance(kind, GivenPath)] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["segment", "", "-o", "out"], "is empty. Give a path, or . for the working folder."),
        (["segment", "case", "-o", " "], "is empty. Give a path, or . for the working folder."),
        (["segment", "--flair", "", "-o", "out"], "is empty."),
        (["timeline", "", "-o", "out"], "is empty."),
        (["segment", "case", "-o", "out", "--max-memory", "1GB"], "'1GB' is not a valid integer."),
        (["segment", "case", "-o", "out", "--threads", "0"], "0 is not in the range x>=1."),
    ],
)
def test_what_is_no_path_or_no_number_is_refused_in_words(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
