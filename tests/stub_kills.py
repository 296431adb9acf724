"""A cohort that is killed again and again: `python stub_kills.py CASES OUT TIMES SEED` prints a line of JSON.

All is imported once; each run is a fork that does cases and writes rows and the table as the runners do, until it is
killed at a random moment.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from stub_cohort import install

install()

from gliomask.cohort.job import CohortJob  # noqa: E402 - after the network made by hand is in its place
from gliomask.cohort.place import CohortPlace  # noqa: E402
from gliomask.cohort.rows import MAX_ROW_BYTES, RowStore, parse_row  # noqa: E402
from gliomask.cohort.runner import Cohort, begin, left_to_do, open_table  # noqa: E402
from gliomask.files.json import read_json  # noqa: E402
from gliomask.files.tables import read_table  # noqa: E402
from gliomask.results.record import read_record  # noqa: E402

ASKED = {"preview": False, "raw": "never", "precision": "fp32"}


def do_all(cohort: Cohort) -> None:
    table = open_table(cohort)
    store = RowStore(cohort.place.rows)
    with CohortJob(cohort.settings.asked, cohort.place.folder, 1) as job:
        for entry in left_to_do(cohort, table.rows, retry_failed=False, verify=False):
            row = job.do(entry).row
            store.write(row)
            table.put(row)
    table.write()


def halves(place: CohortPlace) -> list[str]:
    """What is no whole file: rows, table, records and their outputs."""
    found = []
    for path in place.rows.glob("??/*.json"):
        try:
            parse_row(read_json(path, MAX_ROW_BYTES), str(path))
        except Exception as error:
            found.append(f"{path}: {error}")
    rows = {row["case"]: row for row in read_table(place.table, ("case", "status"))}
    for row in RowStore(place.rows):
        if row.case not in rows:
            found.append(f"{row.case}: not in the table")
        if row.status == "done":
            folder = place.folder / row.case
            record = read_record(folder / f"{row.case}_run.json")
            found += [f"{row.case}: {name} is gone" for name in record.outputs or {} if not (folder / name).is_file()]
    return found


def main() -> None:
    cases, out, times, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    cohort = begin(cases, CohortPlace(out), ASKED)
    generator = random.Random(seed)
    killed, wrong, total = 0, [], len(cohort.entries)
    while killed < times:
        pid = os.fork()
        if pid == 0:
            do_all(cohort)
            os._exit(0)
        time.sleep(generator.uniform(0.005, 0.12))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        killed += os.WIFSIGNALED(status)
        if cohort.place.table.exists():
            wrong += halves(cohort.place)
        if sum(row.status == "done" for row in RowStore(cohort.place.rows)) == total:
            # Forget some cases, so that there is something left to kill.
            for entry in generator.sample(cohort.entries, total // 2):
                RowStore(cohort.place.rows).path(entry.case).unlink()
                shutil.rmtree(out / entry.case)
    do_all(cohort)
    sys.stdout.write(json.dumps({"killed": killed, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main()
