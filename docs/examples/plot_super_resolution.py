"""
Super-resolve an image
======================

The result, decimated as a camera would do it, gives the image back.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.transform import resize

import napari_dip as dip

fine = data.camera()[60:188, 180:308].astype(np.float32)
coarse = resize(fine, (64, 64), anti_aliasing=True, preserve_range=True).astype(np.float32)
restored = dip.super_resolve(coarse, 2, quality="fast")
print(coarse.shape, "->", restored.shape)

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, image, title in zip(axes, (coarse, restored, fine), ("given", "restored", "truth")):
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(title)
    ax.axis("off")
