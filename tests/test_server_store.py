"""The table of jobs and the queue by themselves: order, restarts, full disks, what is forgotten.

No process is started.
"""

import asyncio
import errno
import sqlite3
import threading
import time
from dataclasses import replace

import httpx
import pytest
from conftest import make_tiny_case, write_brats_case

from gliomask.errors import FileFormatError, UsageError
from gliomask.server.app import create_app
from gliomask.server.events import Watch
from gliomask.server.jobs import (
    DeliveryState,
    Failure,
    Job,
    JobOptions,
    JobOutcome,
    Kind,
    Progress,
    ResultFile,
    State,
    new_id,
)
from gliomask.server.keeper import Folders, expire, opened, recover
from gliomask.server.metrics import Metrics
from gliomask.server.multipart import PartWriter
from gliomask.server.pool import Pool
from gliomask.server.settings import Limits, ServerSettings
from gliomask.server.store import JobStore

DONE = JobOutcome(results=(ResultFile(name="a", bytes=1, sha256="0" * 64),), volumes_ml={"WT": 1.5})


@pytest.fixture
def store(tmp_path):
    found = JobStore(tmp_path / "jobs.sqlite3")
    yield found
    found.close()


def job(created: float = 1.0, **values) -> Job:
    return Job(new_id(), Kind.NIFTI, State.QUEUED, JobOptions(title="t", without=("t1",)), created, **values)


def test_a_job_comes_back_as_it_was_added(store):
    wanted = replace(job(study_uid="1.2.3", delivery=DeliveryState.DUE), outcome=DONE, attempts=3)
    store.add(wanted)
    assert store.get(wanted.id) == wanted
    assert store.get("other") is None
    assert "1.2.3" not in repr(wanted)


def test_jobs_begin_in_the_order_in_which_they_came_and_only_once(store):
    jobs = [job(created) for created in (3.0, 1.0, 2.0)]
    for one in jobs:
        store.add(one)
    assert [store.claim().id for _ in range(3)] == [jobs[1].id, jobs[2].id, jobs[0].id]
    assert store.claim() is None


def test_two_threads_never_begin_the_same_job(store):
    for number in range(60):
        store.add(job(number))
    begun = []
    threads = [threading.Thread(target=lambda: begun.extend(iter(store.claim, None))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({found.id for found in begun}) == len(begun) == 60


def test_a_final_state_is_final(store):
    one = job()
    store.add(one)
    store.claim()
    assert store.finish(one.id, State.DONE, DONE, 60)
    assert not store.finish(one.id, State.FAILED, JobOutcome(failure=Failure(code="x", message="y")), 60)
    assert not store.cancel_waiting(one.id, 60)
    store.release(one.id)
    assert store.get(one.id).state is State.DONE


def test_what_expires_loses_its_names_first_and_then_itself(tmp_path, store):
    folders = Folders(tmp_path)
    folders.make()
    one = job(study_uid="1.2.3")
    store.add(one)
    store.claim()
    store.finish(one.id, State.DONE, DONE, -1)
    (folders.jobs / one.id).mkdir()
    assert expire(folders, store, Limits()) == 1
    found = store.get(one.id)
    assert (found.state, found.options, found.outcome, found.study_uid) == (State.EXPIRED, JobOptions(), None, "")
    assert not (folders.jobs / one.id).exists()
    store.forget(-1)
    assert store.get(one.id) is None


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 40, None])
def test_a_foreign_table_is_refused(tmp_path, content):
    path = tmp_path / "jobs.sqlite3"
    if content is None:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version=99")
        database.close()
    else:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"table of jobs"):
        JobStore(path)


def test_the_table_of_one_server_is_that_of_the_next(tmp_path):
    settings = ServerSettings(tmp_path / "data")
    with opened(settings) as (folders, store):
        waiting, finished, lost = job(1), job(2), job(3)
        for one in (waiting, finished, lost):
            store.add(one)
            (folders.jobs / one.id).mkdir()
        claimed = [store.claim() for _ in range(3)]
        store.release(waiting.id)
        assert [one.id for one in claimed] == [waiting.id, finished.id, lost.id]
        (folders.jobs / finished.id / "outcome.json").write_text(DONE.model_dump_json())
        for name in ("incoming/half", "jobs/unknown", "studies/unknown"):
            (folders.top / name).mkdir()
        with pytest.raises(UsageError, match="another server"), opened(settings):
            pass
    with opened(settings) as (folders, store):
        assert store.get(waiting.id).state is State.QUEUED
        assert (store.get(finished.id).state, store.get(finished.id).outcome) == (State.DONE, DONE)
        assert (store.get(lost.id).state, store.get(lost.id).attempts) == (State.QUEUED, 1)
        assert not list(folders.incoming.iterdir())
        assert not list(folders.studies.iterdir())
        assert {path.name for path in folders.jobs.iterdir()} == {waiting.id, finished.id, lost.id}


def test_a_study_whose_server_ended_while_it_became_a_job_is_not_lost(tmp_path, store):
    folders = Folders(tmp_path)
    folders.make()
    store.arrived("1.2.3", "abc", 5)
    (folders.jobs / "abc" / "input").mkdir(parents=True)
    recover(folders, store, Limits())
    assert (folders.studies / "abc" / "input").is_dir()
    assert [study.instances for study in store.studies()] == [5]


def test_objects_of_a_failed_job_are_not_due(store):
    one = job(study_uid="1.2", delivery=DeliveryState.DUE)
    store.add(one)
    store.claim()
    store.finish(one.id, State.FAILED, JobOutcome(failure=Failure(code="x", message="y")), 60)
    assert store.get(one.id).delivery is DeliveryState.NONE
    assert store.due() == []


def test_who_watches_hears_of_the_newest_state_only():
    async def story():
        watch = Watch()
        async with watch.watching("a") as changed:
            assert watch.watchers == 1
            for done in range(100):
                watch.tell("a", Progress(stage="s", done=done, total=100))
            watch.tell("b", Progress(stage="other"))
            assert changed.is_set()
            assert watch.progress("a").done == 99
            watch.tell("a", None)
            assert watch.progress("a") == Progress()
        assert watch.watchers == 0

    asyncio.run(story())


def test_a_job_whose_process_cannot_be_started_fails_and_the_queue_goes_on(tmp_path):
    settings = ServerSettings(tmp_path / "data", workers=1, worker_command=("/no/such/program",))

    async def story(folders, store):
        pool = Pool(settings, store, folders.jobs, Watch(), Metrics())
        ids = [one.id for one in (job(1), job(2))]
        for one_id, created in zip(ids, (1, 2), strict=True):
            store.add(replace(job(created), id=one_id))
            (folders.jobs / one_id).mkdir()
        pool.start()
        end = time.monotonic() + 30
        while not all(store.get(one_id).state.is_final for one_id in ids) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert pool.is_alive
        await pool.stop()
        return [store.get(one_id) for one_id in ids]

    with opened(settings) as (folders, store):
        found = asyncio.run(story(folders, store))
    assert [(one.state, one.outcome.failure.code) for one in found] == [(State.FAILED, "unexpected")] * 2
    assert "no/such" not in str(found)


def asked(settings, folders, store, *requests) -> list[httpx.Response]:
    """Answers of a server in this process, to (method, path, what is sent)."""

    async def story():
        app = create_app(settings, folders, store)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return [await client.request(method, path, **sent) for method, path, sent in requests]

    return asyncio.run(story())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), sqlite3.OperationalError("database or disk is full")])
def test_a_disk_that_fills_up_is_said_and_leaves_nothing(tmp_path, monkeypatch, error):
    folder = write_brats_case(tmp_path / "cases", make_tiny_case())
    files = [("files", (path.name, path.read_bytes())) for path in folder.iterdir()]

    def fail(*arguments):
        raise error

    settings = ServerSettings(tmp_path / "data", workers=1)
    with opened(settings) as (folders, store):
        monkeypatch.setattr(*((PartWriter, "write") if isinstance(error, OSError) else (JobStore, "add")), fail)
        refused, listed = asked(
            settings, folders, store, ("POST", "/api/v1/jobs", {"files": files}), ("GET", "/api/v1/jobs", {})
        )
        assert (refused.status_code, refused.json()["code"]) == (507, "no_room")
        assert listed.json() == []
        assert not list(folders.incoming.iterdir())
        assert not list(folders.jobs.iterdir())


def test_a_fault_of_the_server_tells_nothing(tmp_path, monkeypatch):
    settings = ServerSettings(tmp_path / "data", workers=1)

    def fail(*arguments):
        raise RuntimeError("a secret: /etc/passwd")

    monkeypatch.setattr(JobStore, "newest", fail)
    with opened(settings) as (folders, store):
        failed, well = asked(settings, folders, store, ("GET", "/api/v1/jobs", {}), ("GET", "/healthz", {}))
    assert (failed.status_code, failed.json()["code"]) == (500, "unexpected")
    assert "secret" not in failed.text
    assert well.status_code == 200
