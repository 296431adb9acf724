"""From a case to a network's input: same channels whichever way the scan was stored, and the way back to its own
grid.
"""

import numpy as np
import pytest
from conftest import make_tiny_case
from test_geometry import ORIENTATIONS

from gliomask.case import Case
from gliomask.errors import UsageError
from gliomask.geometry import Geometry
from gliomask.preprocess.channels import NETWORK_ORIENTATION, OnDemand, prepare, prepare_on_demand
from gliomask.preprocess.normalise import FITS, normalise_volume
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
        np.testing.assert_array_equal(
            prepared.channels[..., c], normalise_volume(tiny_case.volumes[sequence], tiny_case.brain_mask)
        )


@pytest.mark.parametrize(("method", "background"), [("slice", -9.0), ("volume", 0.0)])
def test_outside_the_brain_is_background(tiny_case: Case, method: str, background: float) -> None:
    prepared = prepare(tiny_case, PAPER_ORDER, method)
    assert prepared.background == background
    assert (prepared.channels[~prepared.brain] == background).all()
    assert prepared.reorientation.target.orientation == NETWORK_ORIENTATION


def test_an_unknown_method_is_refused(tiny_case: Case) -> None:
    with pytest.raises(UsageError, match="no normalisation"):
        prepare(tiny_case, PAPER_ORDER, "histogram")


@pytest.mark.parametrize("method", ["slice", "volume", "z-score-brain", "z-score-nonzero", "unit-range"])
@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("codes", ["LPS", "RAS", "SPL"])
def test_channels_on_demand_are_those_of_the_whole_to_the_bit(rng, method, order, codes):
    shape, axes = (13, 11, 9), {"LPS": [-1, -1, 1], "RAS": [1, 1, 1], "SPL": [-1, -1, 1]}[codes]
    affine = np.diag([*axes, 1.0])
    if codes == "SPL":
        affine[:3, :3] = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]])
    volumes = {}
    for sequence in (Sequence.FLAIR, Sequence.T1CE, Sequence.T2):
        volume = np.zeros(shape, np.float32)
        volume[2:11, 1:9, 1:8] = rng.random((9, 8, 7)).astype(np.float32) + 1
        volumes[sequence] = np.asarray(volume, order=order)
    case = Case("x", volumes, Geometry(shape, affine), without=frozenset({Sequence.T1}))
    whole, parts = prepare(case, PAPER_ORDER, method), prepare_on_demand(case, PAPER_ORDER, method)
    everything = (slice(None), slice(None), slice(None))
    np.testing.assert_array_equal(parts.channels[everything], whole.channels)
    np.testing.assert_array_equal(parts.brain, whole.brain)
    region = (slice(1, 7), slice(2, 5), slice(0, 4))
    np.testing.assert_array_equal(parts.channels[region], whole.channels[region])
    turned = (parts.channels.transpose(2, 0, 1, 3), whole.channels.transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(*(one[region] for one in turned))
    assert (parts.background, type(parts.channels) is OnDemand) == (whole.background, method in FITS)
