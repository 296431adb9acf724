"""A pipe, a device, a folder where a file is due, and the reverse: every command ends at once, with one message and
exit code 2 to 5.
"""

import os
import signal

import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case

from gliomask.cli.main import run

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")

COMMANDS = {
    "segment": "segment @ -o OUT",
    "segment --flair": "segment --flair @ --t1 SCAN --t1ce SCAN --t2 SCAN -o OUT",
    "segment --network": "segment CASE -o OUT --network @",
    "segment --ensemble-member": "segment CASE -o OUT --ensemble-member @",
    "segment --brain-mask": "segment CASE -o OUT --raw always --brain-mask @",
    "segment --log-file": "segment CASE -o OUT --network none --log-file @",
    "cohort": "cohort @ -o OUT",
    "cohort --network": "cohort CASES -o OUT --network @",
    "cohort status": "cohort status @",
    "cohort task --chunk": "cohort task OUT --chunk @",
    "evaluate": "evaluate @ CASES -o OUT",
    "evaluate REFERENCES": "evaluate CASES @ -o OUT",
    "evaluate --panel-scans": "evaluate CASES CASES -o OUT --panel-scans @",
    "transform": "transform @ --case RECORD --from t1 --to brats -o OUT/x.nii.gz",
    "transform --case": "transform SCAN --case @ --from t1 --to brats -o OUT/x.nii.gz",
    "report": "report @ -o OUT",
    "report SCANS": "report LABELS @ --labels brats2021 -o OUT",
    "view": "view @ --html OUT/x.html",
    "view RESULT": "view CASE @ --html OUT/x.html",
    "summarise": "summarise @ -o OUT",
    "summarise --references": "summarise CASES -o OUT --references @",
    "summarise --compare": "summarise CASES -o OUT --compare @",
    "study": "study @ -o OUT --folds TABLE",
    "study --folds": "study CASES -o OUT --folds @",
    "study --config": "study CASES -o OUT --folds TABLE --config @",
    "models info": "models info @",
    "models verify": "models verify @",
    "models adopt": "models adopt @ -o OUT --inputs t1,t1ce,t2,flair",
    "train": "train @ -o OUT --epochs 1",
    "train --config": "train CASES -o OUT --config @",
    "train --folds": "train CASES -o OUT --folds @ --fold 0",
    "train --from": "train CASES -o OUT --from @",
    "export": "export @ -o OUT",
    "timeline": "timeline @ @ -o OUT",
    "dicom inspect": "dicom inspect @",
    "dicom convert": "dicom convert @ -o OUT",
    "dicom export": "dicom export @ --series CASES -o OUT",
    "dicom export --series": "dicom export LABELS --series @ -o OUT",
    "pacs send": "pacs send @ http://127.0.0.1:1/dicomweb",
    "serve --token-file": "serve -o OUT --token-file @",
}
"""Every argument and option that names something to be read; @ stands for it."""

OUTPUTS = {
    "segment": "segment CASE -o @",
    "cohort": "cohort CASES -o @",
    "evaluate": "evaluate CASES CASES -o @",
    "summarise": "summarise CASES -o @",
    "labels": "labels --format slicer -o @ --overwrite",
    "view": "view CASE LABELS --labels brats2021 --html @ --overwrite",
    "train": "train CASES -o @ --epochs 1",
    "study": "study CASES -o @ --folds TABLE",
    "simulate": "simulate -o @",
    "dicom convert": "dicom convert CASES -o @",
}
"""Every option that names something to be written, with what it is to be."""

SECONDS = 60
"""After so long a command counts as one that waits for ever."""


@pytest.fixture
def in_time():
    def stop(number, frame):
        raise AssertionError("the command waits or reads for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def places(tmp_path):
    write_brats_case(tmp_path / "cases", make_tiny_case(), tiny_labels())
    (tmp_path / "table.csv").write_text("case,fold\ntiny,0\n")
    (tmp_path / "note.txt").write_text("nothing of use")
    (tmp_path / "record.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    case = tmp_path / "cases" / "tiny"
    return {
        "CASES": tmp_path / "cases",
        "CASE": case,
        "SCAN": case / "tiny_t1.nii.gz",
        "LABELS": case / "tiny_seg.nii.gz",
        "TABLE": tmp_path / "table.csv",
        "RECORD": tmp_path / "record.json",
        "OUT": tmp_path / "out",
        "pipe": tmp_path / "pipe",
        "device": "/dev/zero",  # only ever read
        "folder": tmp_path / "folder",
        "file": tmp_path / "note.txt",
    }


def typed(command, places, odd):
    found = command.replace("@", str(places[odd])).split()
    for index, word in enumerate(found):
        first, slash, rest = word.partition("/")
        if first in places:
            found[index] = f"{places[first]}{slash}{rest}"
    return found


def refused(capsys):
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "Error: " in said or "NOT SOUND: " in said


@pytest.mark.parametrize("odd", ["pipe", "device", "folder", "file"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_is_no_file_is_refused_at_once(places, in_time, capsys, command, odd):
    assert run(typed(command, places, odd)) in (2, 3, 4)
    refused(capsys)


@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS)
def test_nothing_is_written_into_a_pipe(places, in_time, capsys, command):
    # No device stands here: a command that forgets the rule would remove it from the machine.
    assert run(typed(command, places, "pipe")) in (2, 3, 4)
    refused(capsys)
    assert places["pipe"].is_fifo()
