"""What TensorFlow says about itself stays off stderr; what a user can act on passes."""

import os
import subprocess
import sys

import pytest

from gliomask.training.quiet import worth_telling

ABSL = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
NOISE = (
    ABSL + "I0000 00:00:1795776012.191613   26270 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use "
    "available CPU instructions.\n"
    + "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate "
    "compiler flags.\n"
    + "2026-11-27 09:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.\n"
)
REAL = (
    "E0000 00:00:1795776012.191613   26270 cuda_dnn.cc:8310] Unable to register cuDNN factory\n"
    "W0000 00:00:1795776012.191613   26270 allocator.cc:85] Allocation of 9000000000 exceeds 10% of free "
    "system memory.\n"
    "Traceback (most recent call last):\n"
    "I am a line of somebody else\n"
)

SCRIPT = """
import os, sys
from gliomask.training.quiet import without_startup_lines
try:
    with without_startup_lines():
        os.write(2, sys.argv[1].encode())
        print("from Python", file=sys.stderr)
        if sys.argv[2] == "raise":
            raise ImportError("absent")
except ImportError:
    pass
print("afterwards", file=sys.stderr)
"""


def test_only_lines_of_level_information_and_their_heading_are_dropped():
    assert worth_telling(NOISE + REAL) == REAL


@pytest.mark.parametrize("end", ["return", "raise"])
def test_native_lines_are_filtered_and_all_others_arrive_in_their_order(end):
    done = subprocess.run([sys.executable, "-c", SCRIPT, NOISE + REAL, end], capture_output=True, text=True, check=True)
    assert done.stderr == REAL + "from Python\nafterwards\n"


def test_a_closed_stderr_is_no_error():
    script = (
        "import os; from gliomask.training.quiet import without_startup_lines; os.close(2)\nwith "
        "without_startup_lines(): print('inside')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "inside\n"
    assert done.returncode == 0


def test_tensorflow_starts_without_a_line():
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    script = (
        "from gliomask.training.backend import use_backend; use_backend('tensorflow', 1); import keras; "
        "keras.ops.zeros((2, 2)) + 1"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
