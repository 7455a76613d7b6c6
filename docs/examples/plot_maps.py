"""
Map T2
======

Simulated magnitude images of a head at eight echo times. The T2 of each pixel alone is noisy; the prior
lets neighbors help each other.
"""

import matplotlib.pyplot as plt

import napari_dip as dip
from napari_dip.datasets import quantitative_head
from napari_dip.physics.signals.t2 import EchoDecay

times = tuple(0.012 * number for number in range(1, 9))
head = quantitative_head(EchoDecay(echo_times=times), side=64)
alone = dip.fit_maps(head.images, "t2", echo_times=times, method="pixelwise")
recipe = dip.Recipe.preset("t2-map").with_quality("fast").replace(signal={"echo_times": times})
result = dip.restore(head.images, recipe, axes="TYX")

# %%

fig, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
axes[0].imshow(head.images[3], cmap="gray")
axes[0].set_title("fourth echo")
panels = {"pixels alone": alone.maps["T2"], "prior": result.maps.maps["T2"], "truth": head.value}
for ax, (name, t2) in zip(axes[1:], panels.items()):
    shown = ax.imshow(t2, vmin=0.04, vmax=0.16)
    ax.set_title(f"T2, {name}")
fig.colorbar(shown, label="T2 [s]")
for ax in axes:
    ax.axis("off")
