"""
Fill missing pixels
===================

What the mask marks is filled, and every other pixel stays as it was. NaN counts as missing, too.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import napari_dip as dip

image = data.astronaut()[20:148, 160:288].astype(np.float32)
missing = np.random.default_rng(0).random(image.shape[:2]) < 0.5
restored = dip.inpaint(image, missing, channel_axis=-1, quality="fast")
assert np.array_equal(restored[~missing], image[~missing])

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
given = np.where(missing[..., None], 255, image)
for ax, shown, title in zip(axes, (given, restored, image), ("half is missing", "filled", "truth")):
    ax.imshow(shown.clip(0, 255).astype(np.uint8))
    ax.set_title(title)
    ax.axis("off")
