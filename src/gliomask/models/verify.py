"""The full check of a model: its files against their hashes, its description field by field, its golden pair in every
engine that is installed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from gliomask.engines.choose import ENGINES, RUN_GRAPHS
from gliomask.errors import EngineUnavailableError, LimitError, ModelError
from gliomask.models.golden import prove, prove_int8
from gliomask.models.registry import Model, load_model

NOT_INSTALLED = "not installed"
NOT_FOR_IT = "cannot run it: it is not one of gliomask's own networks"


@dataclass(frozen=True)
class Verification:
    """What came of checking one model.

    Args:
        model: as it was asked for.
        sha256: of its `model.json`; None where that could not be read.
        engines: by engine, the largest difference from the golden probabilities (of the int8 graph, in the mean), or
            why there is none.
        problem: what is wrong with it; None where nothing is.
    """

    model: str
    sha256: str | None
    engines: dict[str, float | str]
    problem: str | None

    @property
    def sound(self) -> bool:
        """True where nothing is wrong."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """Returns the result for JSON."""
        return {**asdict(self), "sound": self.sound}

    def text(self) -> str:
        """Returns the result as lines of text."""
        head = f"{self.model}: sound ({self.sha256})" if self.sound else f"{self.model}: NOT SOUND: {self.problem}"
        words = [
            f"{difference:.1e} from its golden pair" if isinstance(difference, float) else difference
            for difference in self.engines.values()
        ]
        return "\n".join([head, *(f"  {engine}: {word}" for engine, word in zip(self.engines, words, strict=True))])


def verify_model(name_or_path: str) -> Verification:
    """Returns what is wrong with a model, if anything: a problem is a result here, not an error."""
    engines: dict[str, float | str] = {}
    try:
        model = load_model(name_or_path)
    except ModelError as error:
        return Verification(str(name_or_path), None, engines, str(error))
    problems = []
    ways = [(engine, engine, model) for engine in ENGINES]
    if model.int8 is not None:
        ways += [(f"{engine} int8", engine, model.in_int8()) for engine in RUN_GRAPHS]
    for way, engine, one in ways:
        try:
            engines[way] = _difference(one, engine)
        except EngineUnavailableError:
            engines[way] = NOT_INSTALLED
        except (ModelError, LimitError) as error:
            engines[way] = "failed"
            problems.append(str(error))
    return Verification(str(name_or_path), model.sha256, engines, " ".join(problems) or _unproved(engines))


def _difference(model: Model, engine: str) -> float | str:
    if engine == "keras" and model.source.build is None:
        return NOT_FOR_IT
    with closing(model.open(engine)) as opened:
        return (prove_int8 if model.precision == "int8" else prove)(opened, model.golden, model.spec)


def _unproved(engines: dict[str, float | str]) -> str | None:
    if any(isinstance(difference, float) for difference in engines.values()):
        return None
    return "No engine that could run it is installed."
