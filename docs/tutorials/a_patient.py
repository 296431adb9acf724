# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A patient, from scans to a report
#
# This tutorial segments the synthetic patient that comes with the package. All outputs below were produced when this
# page was built.

# %%
from pathlib import Path
from tempfile import mkdtemp

import gliomask
from gliomask.demo import sample_case

with sample_case() as files:
    print(files.describe())
    case = gliomask.read_case(files)

# %% [markdown]
# A case is four sequences on one grid. Its geometry says where the voxels are.

# %%
print(case.geometry)
print({sequence.title: volume.shape for sequence, volume in case.volumes.items()})

# %% [markdown]
# `segment` loads the default model and returns a result. `single_plane` is quicker and somewhat worse.

# %%
result = gliomask.segment(case, single_plane=True)
result

# %% [markdown]
# Volumes are in ml. The tumour core (TC) is all but oedema, the whole tumour (WT) is everything.

# %%
for amount in result.volumes.amounts:
    print(f"{amount.title:40} {amount.volume_ml:8.1f} ml")

# %% [markdown]
# Flags say what looked wrong about the scans; here nothing did. `estimates` is the Dice to be expected, with its 80 %
# interval.

# %%
print(result.flags)
for region, estimate in result.estimates.items():
    print(f"{region.value}: {estimate.dice:.2f} ({estimate.low:.2f} to {estimate.high:.2f})")

# %% [markdown]
# `save` writes what the command writes: the label map, the picture, volumes, the report and the run record.

# %%
folder = Path(mkdtemp())
result.save(folder, report="html")
print("\n".join(sorted(path.name for path in folder.iterdir() if path.is_file())))
