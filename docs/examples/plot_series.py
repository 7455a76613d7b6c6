"""
Restore a time series
=====================

Frames of one scene are restored jointly. A drift between them is found, and undone first.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import napari_dip as dip

scene = data.camera()[60:160, 190:290].astype(np.float32)
truth = np.stack([scene[shift : shift + 80, shift : shift + 80] for shift in range(6)])
noisy = truth + np.random.default_rng(0).normal(0, 25, truth.shape)
recipe = dip.Recipe.preset("time-series").with_quality("fast")
result = dip.restore(noisy, recipe, axes="TYX")
print(result.provenance.notes)

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, movie, title in zip(axes, (noisy, result.image, truth), ("noisy", "restored", "truth")):
    ax.imshow(movie[2], cmap="gray", vmin=truth.min(), vmax=truth.max())
    ax.set_title(f"{title}, frame 2")
    ax.axis("off")
