"""
Reconstruct a beating heart
===========================

Simulated k-space of four coils, of which a sixth is sampled in each frame. All frames are reconstructed
jointly.
"""

import matplotlib.pyplot as plt
import numpy as np

import napari_dip as dip
from napari_dip.datasets import cardiac_cine

heart = cardiac_cine(side=48, beats=(8,), coils=4, acceleration=6)
restored = np.abs(dip.reconstruct_mri(heart.kspace, heart.maps, quality="fast"))

# %%

fig, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for column, frame in enumerate((0, 2, 4, 6)):
    for ax, movie, name in zip(axes[:, column], (restored, np.abs(heart.truth)), ("restored", "truth")):
        ax.imshow(movie[frame], cmap="gray")
        ax.set_title(f"{name}, frame {frame}")
        ax.axis("off")
