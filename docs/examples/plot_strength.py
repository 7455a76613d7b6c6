"""
Take a part of the restoration
==============================

``at_strength`` mixes the result with its data, and the uncertainty follows.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import napari_dip as dip

noisy = data.coins()[20:148, 20:148] + np.random.default_rng(0).normal(0, 20, (128, 128))
result = dip.denoise(noisy, quality="fast", full_output=True)

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, strength in zip(axes, (0.0, 0.7, 1.0)):
    ax.imshow(np.squeeze(result.at_strength(strength).image), cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"strength {strength:g}")
    ax.axis("off")
