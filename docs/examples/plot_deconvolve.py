"""
Deconvolve with a point spread function
=======================================

The image is restored to a width that can be sampled, two pixels, and not to points. This avoids rings.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy.convolution import Moffat2DKernel, convolve_fft
from skimage import data

import napari_dip as dip

psf = Moffat2DKernel(gamma=3.0, alpha=3.0, x_size=25, y_size=25).array
psf /= psf.sum()
moon = data.moon()[100:260, 100:260].astype(float)
blurred = convolve_fft(moon, psf)[16:-16, 16:-16]
blurred += np.random.default_rng(0).normal(0, 2, blurred.shape)
restored = dip.deconvolve(blurred, psf, quality="fast")

# %%

low, high = np.percentile(moon, (1, 99))
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
images = (blurred, restored, moon[16:-16, 16:-16])
for ax, image, title in zip(axes, images, ("blurred", "restored", "truth, unblurred")):
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)
    ax.set_title(title)
    ax.axis("off")
