"""
Denoise a photograph
====================

The noise is estimated, and the fit stops by itself: nothing has to be chosen.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import napari_dip as dip

rng = np.random.default_rng(0)
noisy = data.camera()[60:188, 160:288] + rng.normal(0, 25, (128, 128))

# %%
# An array gives an array. With ``full_output`` there is also a residual, which should look like noise,
# and an assessment.

result = dip.denoise(noisy, quality="fast", full_output=True)
print(result.summary)

# %%

fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, image, title in zip(
    axes, (noisy, result.image, result.residual), ("noisy", "restored", "residual / noise")
):
    ax.imshow(np.squeeze(image), cmap="gray")
    ax.set_title(title)
    ax.axis("off")
