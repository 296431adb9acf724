"""Where a cohort keeps what it knows: three files for people, and a hidden folder of one row file a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import UsageError
from gliomask.files.atomic import make_folder, refuse_unwritable
from gliomask.files.lock import locked

TABLE, INDEX, SETTINGS, HIDDEN = "cohort.tsv", "cohort.index.tsv", "cohort.json", ".cohort"


@dataclass(frozen=True)
class CohortPlace:
    """The output folder of a cohort.

    Args:
        folder: the output folder; each case has a folder of its own in it.
    """

    folder: Path

    @property
    def table(self) -> Path:
        """One row a case."""
        return self.folder / TABLE

    @property
    def index(self) -> Path:
        """The cases, found once."""
        return self.folder / INDEX

    @property
    def settings(self) -> Path:
        """What was asked, and of which index."""
        return self.folder / SETTINGS

    @property
    def hidden(self) -> Path:
        """What programs keep: row files, the lock, chunks of a cluster's job."""
        return self.folder / HIDDEN

    @property
    def rows(self) -> Path:
        """Row files, in 256 folders: a folder of 100,000 files is slow on network file systems."""
        return self.hidden / "rows"

    @property
    def slurm(self) -> Path:
        """Chunks, scripts and logs of SLURM jobs."""
        return self.hidden / "slurm"

    @property
    def exists(self) -> bool:
        """Whether a cohort was begun here."""
        return self.settings.is_file()

    def begin(self) -> None:
        """Makes the folders.

        Raises:
            UsageError: the folder holds other things, or cannot be written to.
            LimitError: the disk is full.
        """
        refuse_unwritable(self.folder)
        try:
            others = (
                [] if self.exists else [path.name for path in self.folder.iterdir() if path.name not in (HIDDEN, INDEX)]
            )
        except FileNotFoundError:
            others = []
        except OSError as error:
            raise UsageError(
                f"{self.folder}: cannot be listed ({error.strerror or error}). Give another output folder."
            ) from error
        if others:
            raise UsageError(
                f"{self.folder}: is not empty and no cohort of gliomask (it holds {sorted(others)[0]!r} and no "
                f"{SETTINGS}). Give a new folder."
            )
        make_folder(self.rows)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folders and holds the cohort's lock; where no cohort was begun in the end, what was made is taken
        away again.

        Raises:
            UsageError: see `begin`, or another process works on the cohort.
            LimitError: the disk is full.
        """
        new = not self.folder.exists()
        self.begin()
        try:
            with locked(self.hidden, "gliomask cohort", transient=True):
                try:
                    yield
                finally:
                    if not self.exists:
                        _remove_empty(self.rows)
        finally:
            if not self.exists:
                # Only empty folders go: another process that has begun here keeps its own.
                _remove_empty(self.hidden, *([self.folder] if new else []))


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
