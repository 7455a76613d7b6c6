"""
Measure stars in a restored field
=================================

Photons and read noise are taken from the FITS header. The fluxes of stars stay what they are.
"""

import matplotlib.pyplot as plt
import numpy as np

import napari_dip as dip
from napari_dip.datasets import star_field

star_field(side=128, stars=40).writeto("field.fits", overwrite=True)
result = dip.denoise("field.fits", noise="poisson-gaussian", quality="fast")
print(result.summary)

# %%
# The sum of 7 x 7 pixels around the brightest pixels, before and after.

noisy, restored = np.squeeze(dip.read("field.fits").y), np.squeeze(result.image)
for row, column in np.argwhere(restored > np.nanpercentile(restored, 99.97))[:5]:
    window = np.s_[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
    print(f"({row}, {column}): {np.nansum(noisy[window]):.0f} {np.nansum(restored[window]):.0f}")

# %%

low, high = np.nanpercentile(restored, (1, 97))
fig, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, image, title in zip(axes, (noisy, restored), ("noisy", "restored")):
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)
    ax.set_title(title)
    ax.axis("off")
