"""In which numbers an engine computes: float32, or whole numbers of eight bits where a model offers them and this
processor gains by them.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Literal

from gliomask.engines.choose import RUN_GRAPHS
from gliomask.errors import UsageError

Precision = Literal["fp32", "int8"]

PRECISIONS = ("auto", "fp32", "int8")
"""What may be asked for. `auto` is int8 where the model offers it and `pays` says yes."""

INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
"""What Linux calls instructions of x86 that multiply eight-bit numbers and sum them in one step
(arch/x86/include/asm/cpufeatures.h). ARM has such, too; nothing was measured there, so `auto` is float32 on it."""


def choose_precision(asked: str, engine: str, *, offered: bool) -> Precision:
    """Returns the precision to compute in; int8 where that was asked for, though model or engine may then refuse.

    Args:
        asked: one of `PRECISIONS`.
        engine: one of `choose.ENGINES`.
        offered: whether the model has an int8 graph.

    Raises:
        UsageError: there is no such precision.
    """
    if asked not in PRECISIONS:
        raise UsageError(f"There is no precision '{asked}'. Known ones: {', '.join(PRECISIONS)}.")
    return "int8" if asked == "int8" or (asked == "auto" and offered and pays(engine)) else "fp32"


def pays(engine: str) -> bool:
    """Tells whether an engine is quicker in int8 on this processor.

    With instructions for it (`INT8_FLAGS`) both engines are. Without them OpenVINO still takes 0.55 of its float32 time
    on x86 processors with AVX2 (Zen 3), ONNX Runtime as long as in float32: docs/decisions/0017-int8.md.
    """
    if engine not in RUN_GRAPHS:
        return False
    flags = processor_flags()
    return bool(flags & INT8_FLAGS) or (engine == "openvino" and _is_x86() and (not flags or "avx2" in flags))


@cache
def processor_flags() -> frozenset[str]:
    """Returns what the processor can do, by Linux's names; nothing where the system does not say."""
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as stream:
            for line in stream:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")
