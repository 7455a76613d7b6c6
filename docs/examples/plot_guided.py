"""
Use a sharper image as a guide
==============================

A guide shows the same scene with less noise, in another band or with flash. What only the guide shows is
not copied.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import napari_dip as dip

color = data.coffee()[100:228, 200:328].astype(np.float32)
guide, scene = color[..., 1], color[..., 0]
noisy = scene + np.random.default_rng(0).normal(0, 40, scene.shape)
recipe = dip.Recipe.preset("guided").with_quality("fast")
result = dip.restore(noisy, recipe, auxiliary={"guide": guide})

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, image, title in zip(
    axes, (noisy, guide, result.image), ("noisy red", "guide: green", "restored red")
):
    ax.imshow(np.squeeze(image), cmap="gray", vmin=0, vmax=255)
    ax.set_title(title)
    ax.axis("off")
