"""Figures for Prometheus: counts, times and sizes, nothing of any patient."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gliomask.server.jobs import State

SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Gauge("gliomask_jobs", "Jobs in the table, by state.", ["state"], registry=self.registry)
        self.ended = Counter(
            "gliomask_jobs_ended", "Jobs that ended, by state and code.", ["state", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "gliomask_job_seconds", "Time from a job's beginning to its end.", buckets=SECONDS, registry=self.registry
        )
        self.received = Counter("gliomask_received_bytes", "Bytes of uploads that became jobs.", registry=self.registry)
        self.requests = Counter(
            "gliomask_requests", "Answered requests, by status.", ["status"], registry=self.registry
        )
        self.watchers = Gauge("gliomask_event_streams", "Open streams of events.", registry=self.registry)
        self.free = Gauge("gliomask_free_disk_bytes", "Free bytes of the server's folder.", registry=self.registry)

    def text(self, counts: dict[State, int], watchers: int, free_bytes: int) -> bytes:
        """Returns all figures in Prometheus's text format."""
        for state, count in counts.items():
            self.jobs.labels(state.value).set(count)
        self.watchers.set(watchers)
        self.free.set(free_bytes)
        return generate_latest(self.registry)
