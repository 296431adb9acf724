# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # How good is a result
#
# Three answers: the score against a reference, the network's own uncertainty, and what post-processing changes. The
# patient is synthetic
# and comes with the package, so its reference is exact.

# %%
import gliomask
from gliomask.demo import sample_case
from gliomask.io.brats import read_reference
from gliomask.labels import Region

with sample_case() as files:
    case = gliomask.read_case(files)
    reference = read_reference(files, case.geometry)

result = gliomask.segment(case, single_plane=True, postprocess="none")
print(result)

# %% [markdown]
# ## Against the reference
#
# Scores as BraTS defines them; `policy` says what empty regions score.

# %%
from gliomask.metrics.empty import policy
from gliomask.metrics.region import score_region

for region in Region:
    scores = score_region(
        region.mask(reference), region.mask(result.label_map), case.geometry.spacing_mm, policy("brats2020")
    )
    print(f"{region.value}: Dice {scores.dice:.3f}, HD95 {scores.hd95_mm:.1f} mm")

# %% [markdown]
# ## Without a reference
#
# The entropy of the four probabilities says where the network is unsure: 0 is certain, 1 undecided. It is mostly
# found at borders.

# %%
import numpy as np

from gliomask.quality import entropy

unsure = entropy(result.probabilities)
print(f"unsure (entropy above 0.5): {np.count_nonzero(unsure > 0.5) * case.geometry.voxel_ml:.1f} ml")

# %% [markdown]
# ## Post-processing
#
# The network's own answer was asked for above. Each chain takes a label map and returns a new one.

# %%
from gliomask.postprocess import CHAINS, postprocess

for name, chain in CHAINS.items():
    cleaned = postprocess(result.label_map, name, case.geometry.spacing_mm)
    removed = np.count_nonzero(result.label_map) - np.count_nonzero(cleaned)
    print(f"{name:7} removes {removed * case.geometry.voxel_ml:6.2f} ml: {chain.description}")
