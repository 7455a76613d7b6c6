"""K-space in NumPy and HDF5 files: what is which axis, and what must not be mixed."""

import warnings

import numpy as np
import pytest

import napari_dip as dip
from napari_dip import Recipe
from napari_dip.core.errors import ReadError
from napari_dip.io import read_images
from napari_dip.io.mri import arrays

h5py = pytest.importorskip("h5py")

Y, X = np.mgrid[:64, :48]
DISK = 1.0 * (np.hypot(Y - 30, X - 25) < 14)


def kspace_of(image):
    shifted = np.fft.ifftshift(image, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1)).astype(np.complex64)


def image_of(kspace):
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def complex_of(image):
    """The complex array of an image with real and imaginary parts along C."""
    parts = np.split(np.asarray(image.array), 2, axis=image.axes.index("C"))
    return parts[0] + 1j * parts[1]


HEADER = (
    "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'><encoding><encodedSpace><matrixSize><x>64</x>"
    "</matrixSize></encodedSpace><reconSpace><matrixSize><x>{}</x></matrixSize></reconSpace></encoding>"
    "</ismrmrdHeader>"
)


def fastmri_file(path, kspace, width=64, **datasets):
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["ismrmrd_header"] = HEADER.format(width)
        for name, values in datasets.items():
            file[name] = values
    return path


class TestFastMri:
    def test_slices_are_slices_and_coils_are_coils(self, tmp_path):
        several = kspace_of(np.stack([n * DISK for n in (1, 2, 3)]))
        (image,) = read_images(fastmri_file(tmp_path / "a.h5", several))
        assert (image.axes, image.array.shape) == ("TCZYX", (1, 2, 3, 64, 48))
        coils = np.stack([several, 1j * several], axis=1)
        (image,) = read_images(fastmri_file(tmp_path / "b.h5", coils))
        assert image.array.shape == (1, 4, 3, 64, 48)
        np.testing.assert_allclose(complex_of(image)[0, 1, 2], 1j * several[2], atol=1e-6)

    def test_oversampling_is_removed_and_columns_of_the_mask_are_missing(self, tmp_path):
        mask = np.arange(48) % 3 == 0
        path = fastmri_file(tmp_path / "a.h5", kspace_of(DISK)[None], 32, mask=mask)
        (image,) = read_images(path)
        assert image.array.shape == (1, 2, 1, 32, 48)
        np.testing.assert_array_equal(image.bad_mask[0, 0, 0].all(axis=0), ~mask)
        full = fastmri_file(tmp_path / "b.h5", kspace_of(DISK)[None], 32)
        kspace = complex_of(read_images(full)[0])[0, 0, 0]
        found = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho"))
        np.testing.assert_allclose(found.real, DISK[16:48], atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "shape"), [("singlecoil", (1, 2, 4, 32, 48)), ("multicoil", (1, 8, 4, 32, 48))]
    )
    def test_cases(self, data_folder, name, shape):
        (image,) = read_images(data_folder / "cases" / "microscopy" / f"fastmri_{name}.h5")
        assert image.array.shape == shape


def test_a_file_without_kspace_says_what_it_has(tmp_path):
    np.savez(tmp_path / "a.npz", first=np.zeros((3, 4), complex), second=np.zeros(3))
    with pytest.raises(ReadError, match=r"has no array 'kspace'; it has first, second$"):
        read_images(tmp_path / "a.npz")


def test_uncentered_kspace_is_noticed(tmp_path, data_folder):
    np.save(tmp_path / "a.npy", np.fft.fft2(DISK))
    with pytest.warns(UserWarning, match="zero frequency seems to be at the corner"):
        read_images(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", kspace_of(DISK))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_images(tmp_path / "b.npy")
    with pytest.warns(UserWarning, match="zero frequency seems to be at the corner"):
        read_images(data_folder / "cases" / "microscopy" / "kspace_uncentred.npy")


def test_maps_of_several_slices_have_slices(tmp_path):
    kspace = kspace_of(np.stack([DISK, 2 * DISK])[None, None])
    maps = np.ones((1, 2, 64, 48), np.complex64)
    np.savez(tmp_path / "a.npz", kspace=kspace, coils=maps)
    image, found = read_images(tmp_path / "a.npz")
    assert (image.axes, found.axes) == ("TCZYX", "CZYX")
    assert found.array.shape == (2, 2, 64, 48)


@pytest.mark.parametrize("operator", ["sense"])
def test_where_no_coil_is_sensitive_the_result_is_0(fast_settings, operator):
    maps = np.stack([DISK, 1j * DISK]).astype(np.complex64)
    kspace = kspace_of(maps * (1 + X / 48))
    recipe = Recipe.preset("dynamic-mri").with_settings({**fast_settings, "operator.kind": operator})
    observation = arrays.kspace_image(kspace[None], "", 0).to_observation()
    auxiliary = arrays.kspace_image(maps, "", 1)
    observation = observation.with_auxiliary("coil_maps", auxiliary.array, axes=auxiliary.axes)
    image = dip.restore(observation, recipe).image
    assert not image[..., DISK == 0].any()
    assert np.ptp(image[..., DISK > 0]) > 0


@pytest.mark.parametrize(("name", "share"), [("masked_maps", 0.57), ("slices_maps", 1)])
def test_maps_of_the_whole_field_and_of_the_object_alone(data_folder, fast_settings, name, share):
    kspace, maps = read_images(data_folder / "cases" / "microscopy" / f"{name}.npz")
    observation = kspace.to_observation().with_auxiliary("coil_maps", maps.array, axes=maps.axes)
    recipe = Recipe.preset("dynamic-mri").with_settings({**fast_settings, "operator.kind": "sense"})
    image = dip.restore(observation, recipe).image
    sensitive = np.abs(complex_of(maps)).any(axis=0)  # (Y, X) or (Z, Y, X)
    assert sensitive.mean() == pytest.approx(share, abs=0.01)
    image = np.moveaxis(np.asarray(image), kspace.axes.index("C"), 0)  # (C, [T], [Z], Y, X)
    assert not image[..., ~sensitive].any()
    assert np.ptp(image[..., sensitive]) > 0


class TestHdf5:
    def test_links_to_other_files_are_refused(self, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["kspace"] = kspace_of(DISK)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["kspace"] = h5py.ExternalLink("other.h5", "kspace")
        with pytest.raises(ReadError, match="'kspace' lies in another file"):
            read_images(tmp_path / "a.h5")

    def test_values_in_other_files_are_refused(self, tmp_path):
        (tmp_path / "raw").write_bytes(kspace_of(DISK).tobytes())
        with h5py.File(tmp_path / "a.h5", "w") as file:
            outside = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("kspace", DISK.shape, np.complex64, external=outside)
        with pytest.raises(ReadError, match="'kspace' lies in another file"):
            read_images(tmp_path / "a.h5")

    def test_an_array_beyond_the_memory_is_refused(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:  # of a few bytes
            file.create_dataset("kspace", (10**4, 10**4, 10**4), np.complex64, chunks=(1, 100, 100))
        with pytest.raises(ReadError, match=r"'kspace' would take 8e\+03 GB"):
            read_images(tmp_path / "a.h5")

    def test_a_compressed_array_beyond_the_memory_is_refused(self, tmp_path, monkeypatch):
        np.savez_compressed(tmp_path / "a.npz", kspace=np.zeros((1, 64, 48), np.complex64))
        monkeypatch.setattr(arrays, "unpacked_limit_bytes", lambda stored: 1000)
        with pytest.raises(ReadError, match="'kspace' would take"):
            read_images(tmp_path / "a.npz")


class TestIsmrmrd:
    @pytest.fixture
    def write(self, tmp_path):
        ismrmrd = pytest.importorskip("ismrmrd")

        def write(changes, flags=(), lines=16, samples=24, width=24):
            """Write lines of a ramp, `changes` says how line and readout differ."""
            path = tmp_path / "a.h5"
            with_header = ismrmrd.Dataset(str(path), "dataset")
            encoded, shown = (
                f"<matrixSize><x>{columns}</x><y>{lines}</y><z>1</z></matrixSize>"
                "<fieldOfView_mm><x>240</x><y>160</y><z>5</z></fieldOfView_mm>"
                for columns in (samples, width)
            )
            with_header.write_xml_header(
                "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'><experimentalConditions>"
                "<H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions><encoding>"
                f"<encodedSpace>{encoded}</encodedSpace><reconSpace>{shown}</reconSpace>"
                "<encodingLimits/><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
            )
            for copy in range(2 if changes else 1):
                for line in range(lines):
                    values = (1 + copy) * (1 + line + 1j * np.arange(samples))[None]
                    one = ismrmrd.Acquisition.from_array(values.astype(np.complex64))
                    one.idx.kspace_encode_step_1, one.center_sample = line, samples // 2
                    if changes:
                        setattr(one.idx, changes, copy)
                    for flag in flags if copy else ():
                        one.set_flag(getattr(ismrmrd, flag))
                    with_header.append_acquisition(one)
            with_header.close()
            return path

        return write

    @pytest.mark.parametrize("name", ["contrast", "set", "segment"])
    def test_different_images_are_not_averaged(self, write, name):
        with pytest.raises(ReadError, match=r"which are different images: write each to its own file$"):
            read_images(write(name))

    def test_oversampled_columns_are_cut_off(self, write):
        (image,) = read_images(write("", width=12))
        found = complex_of(image)[0, 0, 0]
        assert found.shape == (16, 12)
        lines = 1 + np.arange(16)[:, None] + 1j * np.arange(24)
        expected = image_of(lines)[:, 6:18]
        np.testing.assert_allclose(image_of(found), expected, rtol=1e-4, atol=1e-4)

    def test_averages_are_averaged_and_repetitions_are_frames(self, write):
        (image,) = read_images(write("average"))
        lines = 1.5 * (1 + np.arange(16)[:, None] + 1j * np.arange(24))
        np.testing.assert_allclose(complex_of(image)[0, 0, 0], lines)

    def test_lines_for_calibration_alone_are_left_out(self, write):
        (image,) = read_images(write("average", ["ACQ_IS_PARALLEL_CALIBRATION"]))
        lines = 1 + np.arange(16)[:, None] + 1j * np.arange(24)
        np.testing.assert_allclose(complex_of(image)[0, 0, 0], lines)

    def test_reversed_lines_are_turned(self, write):
        (image,) = read_images(write("repetition", ["ACQ_IS_REVERSE"]))
        turned = complex_of(image)[1, 0, 0]
        expected = 2 * (1 + np.arange(16)[:, None] + 1j * np.arange(24)[::-1])
        np.testing.assert_allclose(turned[:, 1:], expected[:, :-1])  # the center stays the center

    @pytest.mark.parametrize("name", ["two_echoes", "two_sets"])
    def test_cases(self, data_folder, name):
        with pytest.raises(ReadError, match="which are different images"):
            read_images(data_folder / "cases" / "microscopy" / f"ismrmrd_{name}.h5")

    def test_one_echo_is_read(self, data_folder):
        (image,) = read_images(data_folder / "cases" / "microscopy" / "ismrmrd_one_echo.h5")
        assert image.axes == "TCZYX"
