"""A model with a network made by hand; light to import, for the processes that tests start."""

from fakes import tiny_spec

from gliomask.engines.base import EngineSource
from gliomask.engines.fake import FakeEngine
from gliomask.models.spec import ModelSpec

# Bright on T1ce is enhancing, bright on FLAIR is oedema, dark on T1 is necrotic: logits of a pixel's z-scores (FLAIR,
# T1, T1ce, T2).
MIXING = [[0, 0, 3, 0], [0, -3, 0, 0], [0, 0, 0, 4], [0, 0, 0, 0]]


class HandModel:
    """A model as `load_model` returns it: its specification is a real one, its network is made by hand."""

    sha256 = "0" * 64
    int8 = None
    source = EngineSource(b"", "by-hand")

    def __init__(self) -> None:
        self.spec = tiny_spec("slices", name="by-hand", halo=2)

    def open(self, engine, threads):
        return FakeEngine(MIXING, (3, 0, 0, 0), radius=1)

    def change(self, **fields) -> None:
        """Changes fields of the specification, which is checked as one that is read from a file."""
        self.spec = ModelSpec(**(dict(self.spec) | fields))


def model_by_hand() -> HandModel:
    """A model with the network made by hand."""
    return HandModel()
