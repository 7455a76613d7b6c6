"""
Combine frames that drift and turn
==================================

The motion of each frame is measured from all frames together. Their mean is denoised.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter
from skimage import data

import napari_dip as dip

scene = gaussian_filter(data.coins().astype(float), 1)
rng = np.random.default_rng(0)
motion = np.linspace(0, 1, 12)[:, None] * [5, 4, -3] + rng.normal(0, 0.2, (12, 3))
motion[0] = 0
frames = []
for angle, *shift in motion:
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([150.0, 190.0])
    corner = middle - turn @ (np.array([39.5, 39.5]) + shift)
    frames.append(affine_transform(scene, turn, corner, output_shape=(80, 80)))
truth = frames[0]
frames = np.array(frames) + rng.normal(0, 50, (12, 80, 80))
result = dip.coadd(frames, rotation=True, quality="fast", full_output=True)
print(np.round(result.motion, 2))

# %%

fig, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
images = (frames[0], frames.mean(axis=0), result.image, truth)
for ax, image, title in zip(axes, images, ("one frame", "mean as they are", "restored", "truth")):
    ax.imshow(image, cmap="gray", vmin=truth.min(), vmax=truth.max())
    ax.set_title(title)
    ax.axis("off")
