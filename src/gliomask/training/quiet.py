"""Keeps what TensorFlow's native code says about itself off stderr while it starts; everything else passes.

TensorFlow 2.21 writes start-up lines through absl before absl is set up, from C++ and to file descriptor 2, so that
neither `logging` nor `warnings` sees them, and a level in the environment is not honoured by all of them. They tell how
the binary was built; no user can act on them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOISE = re.compile(
    r"^WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    r"|^I\d{4} \d\d:\d\d:|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: I "
    r"|^To enable the following instructions: .* rebuild TensorFlow with the appropriate compiler flags\."
)
"""absl's note on itself, its lines of level information (I0000 ..., or with a date before), and the second line of the
note on the processor.
"""


@contextmanager
def without_startup_lines() -> Iterator[None]:
    """Holds back what is written to file descriptor 2 inside, and writes it afterwards, without the lines that tell
    users nothing.

    Whatever happens inside, an exception included, nothing but those lines is lost. Where stderr is no open file,
    nothing is held back.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as buffer:
        sys.stderr.flush()
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            buffer.seek(0)
            rest = worth_telling(buffer.read().decode(errors="replace"))
            try:
                os.write(kept, rest.encode())
            finally:
                os.close(kept)


def worth_telling(text: str) -> str:
    """Returns the text without the lines that tell users nothing."""
    return "".join(line for line in text.splitlines(keepends=True) if not _NOISE.match(line))
