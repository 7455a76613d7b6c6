import pytest
import torch

from napari_dip.prior.output_scale import AsinhStretch


@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e4])
@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 3.0), (4.0, 12.0)])
def test_the_asinh_stretch_has_an_inverse(unit, gain, read_noise):
    """From five times the read noise below the background to a full well, in all units."""
    x = unit * torch.cat([torch.linspace(-5 * read_noise, 100, 999), torch.logspace(2, 4.8, 999) * gain])
    scale = AsinhStretch(torch.tensor(unit * 20.0), torch.tensor(unit * 10 * read_noise))
    back = scale.inverse(scale.forward(x))
    error = (back - x).abs() / torch.maximum(x.abs(), torch.tensor(unit * read_noise))
    assert error.max() <= 1e-5
