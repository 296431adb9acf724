"""The worker of the tests: the real one, with a network made by hand.

A job's title may ask for what goes wrong in life.
"""

import sys
import time

from hand_model import model_by_hand

from gliomask.imports import import_without

import_without("nibabel", "pydicom")

import gliomask.segmentation.segmenter
from gliomask.files.json import read_json_as
from gliomask.server import worker


def misbehave(title: str) -> None:
    if title == "sleep":
        time.sleep(120)
    if title == "memory":
        bytearray(64 << 30)
    if title == "crash":
        raise RuntimeError("a secret of the library: /etc/passwd")
    if title.startswith("pause"):
        time.sleep(float(title.removeprefix("pause")))


def load(name):
    misbehave(order.options.title)
    return model_by_hand()


if __name__ == "__main__":
    gliomask.segmentation.segmenter.load_model = load
    from pathlib import Path

    order = read_json_as(Path(sys.argv[1]) / "job.json", worker.Order, "an order")
    sys.exit(worker.main(sys.argv[1:]))
