"""`gliomask cohort` with the network made by hand, for tests that need real processes:
`python stub_cohort.py run INPUT -o OUT`.

What a case does besides being segmented is said by its name: `hang` sleeps, `eat` takes memory, `crash` takes its
process down, `slow` takes a moment.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from hand_model import model_by_hand

from gliomask.imports import import_without

import_without("nibabel", "pydicom")

import gliomask.segmentation.segmenter
from gliomask.cohort import job, supervisor, worker

HERE = (sys.executable, str(Path(__file__).resolve()), "--worker")
PLAIN = ["--no-preview", "--raw", "never", "--precision", "fp32"]


def misbehave(case: str) -> None:
    if "hang" in case:
        time.sleep(600)
    if "eat" in case:
        held = []
        while True:
            held.append(np.ones(8 << 20))
            time.sleep(0.01)
    if "crash" in case:
        os.kill(os.getpid(), 11)
    if "slow" in case:
        time.sleep(0.15)


class OddJob(job.CohortJob):
    def do(self, entry):
        misbehave(entry.case)
        return super().do(entry)


def install() -> None:
    model = model_by_hand()
    gliomask.segmentation.segmenter.load_model = lambda name: model
    job.CohortJob = OddJob
    supervisor.WORKER = HERE


if __name__ == "__main__":
    install()
    if sys.argv[1:] == ["--worker"]:
        sys.exit(worker.main())
    from gliomask.cli.main import run

    given = sys.argv[1:]
    sys.exit(run(given if given[0] == "cohort" else ["cohort", *given]))
