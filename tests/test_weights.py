"""Weights on disk, and a wider network that begins by computing what a narrower one did."""

from __future__ import annotations

import numpy as np
import pytest

from gliomask.errors import UsageError

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from gliomask.networks.catalogue import network  # noqa: E402
from gliomask.training.weights import load_weights, save_weights  # noqa: E402


def test_input_sparse_widened_from_sparse_computes_the_same(tmp_path, rng):
    narrow, wide = network("sparse").build(), network("input-sparse").build()
    save_weights(tmp_path / "weights.npz", narrow)
    image = rng.standard_normal((1, 16, 24, 4)).astype(np.float32)
    expected = np.asarray(narrow(image))
    assert np.abs(np.asarray(wide(image)) - expected).max() > 1e-3
    load_weights(tmp_path / "weights.npz", wide, widen=True)
    np.testing.assert_allclose(np.asarray(wide(image)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "target", "widen"),
    [("sparse", "input-sparse", False), ("input-sparse", "sparse", True), ("dense", "sparse", True)],
)
def test_weights_of_another_network_are_refused(source, target, widen, tmp_path):
    save_weights(tmp_path / "weights.npz", network(source).build())
    with pytest.raises(UsageError, match="another network"):
        load_weights(tmp_path / "weights.npz", network(target).build(), widen=widen)
