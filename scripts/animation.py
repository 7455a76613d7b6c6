"""Record a run in the real window, and the comparison of its result with the original, in ten seconds.

Run as ``xvfb-run -a -s "-screen 0 1366x768x24" python scripts/animation.py``; writes
docs/images/run.webp.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from napari_dip.datasets import star_field
from napari_dip.plugin.session.run import State
from walks import Walk

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "run.webp"
WIDTH = 1024  # pixels
RUN_FRAMES, SWEEP_FRAMES = 30, 24
FRAME_MS, STILL_MS = 130, 1200


def main() -> None:
    """Record, and write the animation."""
    walk = Walk("animation", quick=False, theme="dark")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "star_field.fits"
        star_field().writeto(path)
        walk.viewer.open(path, plugin="napari-dip")
    walk.viewer.layers["star_field.fits - mask"].visible = False
    walk.open_dock("Denoise")
    walk.wait(5)
    frames, session = [walk.grab()], walk.dock.session
    walk.click(walk.dock.run_controls.run_button)
    while session.state != State.IDLE:
        walk.wait(1)
        frames.append(walk.grab())
    chosen = np.unique(np.linspace(0, len(frames) - 1, RUN_FRAMES).round().astype(int))
    frames = [frames[index] for index in chosen]
    walk.wait(1)
    frames.append(walk.grab())
    durations = [STILL_MS, *[FRAME_MS] * (len(frames) - 2), STILL_MS]
    walk.click(walk.dock.result_controls.split_button)
    columns = walk.viewer.layers["star_field.fits"].data.shape[-1]
    for share in 0.5 + 0.45 * np.sin(np.linspace(0, 2 * np.pi, SWEEP_FRAMES)):
        session.split.move(share * columns)
        walk.wait(0.2)
        frames.append(walk.grab())
        durations.append(FRAME_MS)
    durations[-1] = STILL_MS
    height = round(WIDTH * frames[0].height / frames[0].width)
    small = [frame.resize((WIDTH, height), Image.Resampling.LANCZOS) for frame in frames]
    small[0].save(OUTPUT, save_all=True, append_images=small[1:], duration=durations, loop=0, quality=60)
    print(f"{len(frames)} frames, {sum(durations) / 1000:.1f} s, {OUTPUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
