"""From a case to a network's input: same channels whichever way the scan was stored, and the way back to its own grid."""

import numpy as np
import pytest
from conftest import make_tiny_case
from test_geometry import ORIENTATIONS

from gliomask.case import Case
from gliomask.errors import UsageError
from gliomask.preprocess.channels import NETWORK_ORIENTATION, prepare
from gliomask.preprocess.normalise import normalise_volume
from gliomask.sequences import PAPER_ORDER, Sequence


def stored_as(case: Case, codes: str) -> Case:
    """The same patient, stored on other axes."""
    reorientation = case.geometry.reorientation_to(codes)
    volumes = {sequence: reorientation.apply(volume) for sequence, volume in case.volumes.items()}
    return Case(case.case_id, volumes, reorientation.target)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("method", ["slice", "volume"])
def test_channels_do_not_depend_on_how_the_scan_was_stored(codes: str, method: str) -> None:
    case = make_tiny_case()
    stored = stored_as(case, codes)
    expected, found = prepare(case, PAPER_ORDER, method), prepare(stored, PAPER_ORDER, method)
    np.testing.assert_array_equal(found.channels, expected.channels)
    np.testing.assert_array_equal(found.brain, expected.brain)
    np.testing.assert_array_equal(found.reorientation.undo(found.brain), stored.brain_mask)


def test_channels_are_in_the_order_asked_for(tiny_case: Case) -> None:
    order = (Sequence.T2, Sequence.T1CE, Sequence.FLAIR, Sequence.T1)
    prepared = prepare(tiny_case, order, "volume")
    assert prepared.channels.shape == (24, 28, 20, 4)
    assert prepared.channels.dtype == np.float32
    for c, sequence in enumerate(order):
        np.testing.assert_array_equal(prepared.channels[..., c], normalise_volume(tiny_case.volumes[sequence], tiny_case.brain_mask))


@pytest.mark.parametrize(("method", "background"), [("slice", -9.0), ("volume", 0.0)])
def test_outside_the_brain_is_background(tiny_case: Case, method: str, background: float) -> None:
    prepared = prepare(tiny_case, PAPER_ORDER, method)
    assert prepared.background == background
    assert (prepared.channels[~prepared.brain] == background).all()
    assert prepared.reorientation.target.orientation == NETWORK_ORIENTATION


def test_an_unknown_method_is_refused(tiny_case: Case) -> None:
    with pytest.raises(UsageError, match="no normalisation"):
        prepare(tiny_case, PAPER_ORDER, "histogram")
