import gzip
import json
import warnings
from dataclasses import fields

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from napari_dip import Observation, Recipe, read, restore, write
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.provenance import Provenance
from napari_dip.datasets import star_field
from napari_dip.io import read_images, read_provenance, read_recipe, write_image

REAL = [
    "M13_blue_0001.fits",
    "gc_2mass_j.fits",
    "m13_rice.fits",
    "tiny_scale_bscale_bzero.fits",
    "dss.14.29.56-62.41.05.fits.gz",
    "decam_tilecomp_c4d_171113_ooi_r_N6.fits",
    "muse_cube_data_stat.fits",
    "gc_bolocam_gps.fits",
]


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "frame.fits"
    star_field(seed=1, side=64, stars=10).writeto(path)
    return path


def restored(path, fast_recipe):
    return restore(read(path), fast_recipe)


@pytest.mark.parametrize("name", REAL)
def test_pixels_are_those_that_astropy_reads(data_folder, name):
    path = data_folder / "astronomy" / name
    image = read_images(path)[0]
    with fits.open(path) as hdus:
        expected = hdus[image.header.hdu].data
    np.testing.assert_array_equal(image.array, expected.squeeze())
    assert image.array.dtype.isnative


def test_quality_and_error_planes_find_their_image(data_folder):
    (image,) = read_images(data_folder / "astronomy" / "decam_sci_err_dq_assembled.fits")
    with fits.open(data_folder / "astronomy" / "decam_sci_err_dq_assembled.fits") as hdus:
        err, dq = hdus["ERR"].data, hdus["DQ"].data
    usable = np.isfinite(err)
    np.testing.assert_array_equal(image.sigma[usable], err[usable])
    np.testing.assert_array_equal(image.bad_mask, (dq != 0) | ~usable)


def test_pixels_of_weight_0_are_missing_and_other_weights_say_nothing(tmp_path):
    data, weight = np.random.default_rng(0).normal(size=(2, 40, 40)).astype(np.float32) ** 2
    weight[3:5] = 0
    planes = [fits.ImageHDU(data, name="SCI"), fits.ImageHDU(weight, name="WHT")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    (image,) = read_images(tmp_path / "a.fits")
    assert image.sigma is None
    np.testing.assert_array_equal(image.bad_mask, weight == 0)


def test_an_extension_restored_later_does_not_disturb_the_marks_of_another(tmp_path, fast_recipe):
    data = np.random.default_rng(0).normal(size=(2, 40, 40)).astype(np.float32)
    data[0, 3, 3] = data[1, 9, 9] = np.nan
    chips = [fits.ImageHDU(chip, name="SCI", ver=v) for v, chip in enumerate(data, start=1)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "0.fits")
    for number in (1, 2):
        image = read_images(tmp_path / f"{number - 1}.fits")[number - 1]
        recipe = fast_recipe.with_settings({"seed": number})
        write(tmp_path / f"{number}.fits", restore(image.to_observation(), recipe))
    first, second = read_images(tmp_path / "2.fits")
    assert np.argwhere(first.bad_mask).tolist() == [[3, 3]]
    assert np.argwhere(second.bad_mask).tolist() == [[9, 9]]


@pytest.mark.parametrize("title", ["Débruiter", "two\nlines", "x" * 200])
def test_any_title_can_be_written(frame, fast_recipe, tmp_path, title):
    recipe = fast_recipe.model_copy(update={"title": title})
    write(tmp_path / "out.fits", restore(read(frame), recipe))
    assert Recipe.from_json(read_recipe(tmp_path / "out.fits")).title == title


def test_extensions_that_were_not_restored_stay_as_they_are_stored(tmp_path, fast_recipe):
    scaled = fits.ImageHDU(np.arange(1600, dtype=np.int16).reshape(40, 40), name="FLAT")
    scaled.header["BSCALE"], scaled.header["BZERO"] = 0.5, 3
    image = fits.PrimaryHDU(np.random.default_rng(0).normal(size=(40, 40)))
    fits.HDUList([image, scaled]).writeto(tmp_path / "in.fits")
    write(tmp_path / "out.fits", restore(read(f"{tmp_path / 'in.fits'}[0]"), fast_recipe))
    raw = [fits.open(tmp_path / f"{n}.fits", do_not_scale_image_data=True)[1] for n in ("in", "out")]
    assert raw[0].data.dtype == raw[1].data.dtype
    np.testing.assert_array_equal(raw[0].data, raw[1].data)
    assert raw[1].header["BSCALE"] == 0.5


def test_variances_become_standard_deviations(tmp_path):
    data = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    for name, plane in (("VAR", 9.0), ("IVAR", 1 / 9), ("ERR", 3.0)):
        path = tmp_path / f"{name}.fits"
        science = fits.ImageHDU(data, name="SCI")
        plane = fits.ImageHDU(np.full(data.shape, plane, np.float32), name=name)
        fits.HDUList([fits.PrimaryHDU(), science, plane]).writeto(path)
        np.testing.assert_allclose(read_images(path)[0].sigma, 3, rtol=1e-6)


def test_writing_keeps_every_card_that_is_still_true(frame, fast_recipe, tmp_path):
    out = tmp_path / "out.fits"
    write(out, restored(frame, fast_recipe))
    with fits.open(frame) as old, fits.open(out, checksum=True) as new:
        assert [h.name for h in new] == ["PRIMARY", "DQ", "TRUTH", "FILLED", "RESIDUAL"]
        for card in old[0].header.cards:
            if card.keyword not in ("BITPIX", "EXTEND"):
                assert new[0].header[card.keyword] == card.value
        np.testing.assert_array_equal(new["DQ"].data, old["DQ"].data)
        assert new[0].data.dtype == ">f4"
        assert np.isfinite(new[0].data).all()
        missing = np.isnan(old[0].data) | (old["DQ"].data != 0)
        np.testing.assert_array_equal(new["FILLED"].data, missing)
        corners = [[0, 0], [63, 63]]
        np.testing.assert_array_equal(
            WCS(new[0].header).wcs_pix2world(corners, 0),
            WCS(old[0].header).wcs_pix2world(corners, 0),
        )


def test_long_odd_and_foreign_cards_survive(tmp_path, fast_recipe):
    hdu = fits.PrimaryHDU(np.random.default_rng(0).normal(size=(40, 40)))
    hdu.header["LONG"] = "it's " + 40 * "long & " + "end"
    hdu.header["HIERARCH ESO DET OUT1 GAIN"] = 2.5
    hdu.header["COMMENT"] = "a comment " * 20
    hdu.header["HISTORY"] = "done"
    hdu.writeto(tmp_path / "in.fits")
    spoilt = (tmp_path / "in.fits").read_bytes().replace(b"done", b"d\tne")
    (tmp_path / "in.fits").write_bytes(spoilt)
    write(tmp_path / "out.fits", restored(tmp_path / "in.fits", fast_recipe))
    header = fits.getheader(tmp_path / "out.fits")
    assert header["LONG"] == hdu.header["LONG"]
    assert header["ESO DET OUT1 GAIN"] == 2.5
    assert list(header["COMMENT"]) == list(fits.getheader(tmp_path / "in.fits")["COMMENT"])
    assert header["HISTORY"][0] == "d ne"


def test_cards_about_how_pixels_were_stored_are_gone(tmp_path, fast_recipe):
    path, out = tmp_path / "scaled.fits", tmp_path / "out.fits"
    hdu = fits.PrimaryHDU(np.random.default_rng(0).integers(0, 60000, (40, 40), np.uint16))
    hdu.header["BLANK"] = 7
    hdu.header["DATAMAX"] = 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdu.writeto(path)
    write(out, restored(path, fast_recipe))
    header = fits.getheader(out)
    assert not {"BSCALE", "BZERO", "BLANK", "DATAMAX"} & set(header)


def test_a_written_file_carries_its_recipe(frame, fast_recipe, tmp_path):
    out = tmp_path / "out.fits"
    result = restored(frame, fast_recipe)
    write(out, result)
    assert Recipe.from_json(read_recipe(out)) == fast_recipe
    header = fits.getheader(out)
    assert header["DIPSEED"] == 0
    assert header["DIPSTEP"] == result.history[0].selected_step
    assert header["DIPNSRC"] == result.provenance.noise.source == "estimated"
    assert header["DIPSTOP"] == result.stop_reason
    assert header["DIPSUMM"] == result.summary.split("\n")[1]
    assert header["DIPCHECK"] == result.assessment.level
    assert header.get("DIPWHY", "") == "; ".join(result.assessment.reasons)
    assert not {"DIPITER", "DIPNOISE", "DIPVERD"} & set(header)


def test_a_written_file_has_the_whole_provenance(frame, fast_recipe, tmp_path):
    result = restored(frame, fast_recipe)
    for name in ("out.fits", "out.ome.tif"):
        write(tmp_path / name, result)
        provenance = read_provenance(tmp_path / name)
        assert set(provenance) == {field.name for field in fields(Provenance)} | {"summary"}
        assert Provenance.from_dict(provenance) == Provenance.from_dict(result.provenance.to_dict())
        assert provenance == json.loads(json.dumps(result.metadata, allow_nan=False))


def test_astropy_reads_the_uncertainty_and_the_mask_of_a_written_file(frame, fast_recipe, tmp_path):
    result = restored(frame, fast_recipe.with_settings({"ensemble.size": 2}))
    write(tmp_path / "out.fits", result)
    data = CCDData.read(tmp_path / "out.fits", hdu_uncertainty="UNCERT", hdu_mask="FILLED")
    assert isinstance(data.uncertainty, StdDevUncertainty)
    np.testing.assert_array_equal(data.uncertainty.array, result.uncertainty)
    np.testing.assert_array_equal(data.mask, result.inpainted)
    assert result.inpainted.any()
    assert data.unit == "adu"
    np.testing.assert_array_equal(data.data, result.image)
    assert fits.getheader(tmp_path / "out.fits", "UNCERT")["UTYPE"] == "StdDevUncertainty"


def test_running_again_from_an_output_repeats_it_bit_for_bit(frame, fast_recipe, tmp_path):
    first, second = tmp_path / "1.fits", tmp_path / "2.fits"
    write(first, restored(frame, fast_recipe))
    write(second, restore(read(frame), Recipe.from_json(read_recipe(first))))
    np.testing.assert_array_equal(fits.getdata(first), fits.getdata(second))


def test_inpainted_pixels_are_missing_when_read_again(frame, fast_recipe, tmp_path):
    out = tmp_path / "out.fits"
    result = restored(frame, fast_recipe)
    write(out, result)
    assert read_images(out)[0].bad_mask.sum() == result.inpainted.sum()


@pytest.mark.parametrize("suffix", [".fits", ".FIT", ".fts", ".fits.gz"])
def test_suffixes_in_any_case_are_fits(frame, fast_recipe, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    result = restored(frame, fast_recipe)
    write(out, result)
    np.testing.assert_array_equal(read_images(out)[0].array, result.image)
    if suffix.endswith("gz"):
        with gzip.open(out) as file:
            assert file.read(6) == b"SIMPLE"


def test_an_array_without_a_header_becomes_fits_too(fast_recipe, noisy, tmp_path):
    out = tmp_path / "out.fits"
    result = restore(Observation.from_array(noisy[..., None], axes="YXC"), fast_recipe)
    write(out, result)
    assert read_images(out)[0].array.shape == noisy.shape


def test_an_integer_image_keeps_its_type_when_saved_unrestored(data_folder, tmp_path):
    (image,) = read_images(data_folder / "astronomy" / "M13_blue_0001.fits")
    write_image(tmp_path / "copy.fits", image)
    copy = read_images(tmp_path / "copy.fits")[0].array
    assert copy.dtype == np.uint16
    np.testing.assert_array_equal(copy, image.array)


def test_files_are_never_replaced_unasked_nor_over_their_input(frame, fast_recipe, tmp_path):
    result = restored(frame, fast_recipe)
    before = frame.read_bytes()
    with pytest.raises(WriteError, match="exists: allow overwriting, or choose another name"):
        write(frame, result)
    with pytest.raises(WriteError, match="is the file the image was read from"):
        write(frame, result, overwrite=True)
    assert frame.read_bytes() == before
    with pytest.raises(WriteError, match="no folder"):
        write(tmp_path / "nowhere" / "out.fits", result)
    with pytest.raises(WriteError, match="suffix"):
        write(tmp_path / "out.png", result)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(frame, fast_recipe, tmp_path, monkeypatch):
    out = tmp_path / "out.fits"
    out.write_bytes(b"precious")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    result = restored(frame, fast_recipe)
    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(WriteError, match="No space left"):
        write(out, result, overwrite=True)
    assert out.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frame.fits", "out.fits"]


def cut_off(path, frame):
    path.write_bytes(frame.read_bytes()[: 64 * 64 * 3])


def text(path, frame):
    path.write_text("not a picture")


def empty(path, frame):
    path.write_bytes(b"")


def folder(path, frame):
    path.mkdir()


def table_only(path, frame):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)


def absent(path, frame):
    pass


def broken_gzip(path, frame):
    path.write_bytes(b"\x1f\x8b" + b"\0" * 100)


@pytest.mark.parametrize("spoil", [cut_off, text, empty, folder, table_only, absent, broken_gzip])
def test_a_broken_file_is_one_sentence_with_its_name(tmp_path, frame, spoil):
    path = tmp_path / "broken.fits"
    spoil(path, frame)
    with pytest.raises(ReadError, match=r"broken\.fits") as error:
        read_images(path)
    assert "\n" not in str(error.value)


def test_a_symbolic_link_stays_one(frame, fast_recipe, tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "out.fits"
    link.symlink_to(tmp_path / "store" / "real.fits")
    result = restore(read(frame), fast_recipe)
    write(link, result)
    write(link, result, overwrite=True)
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["real.fits"]
    np.testing.assert_array_equal(fits.getdata(link), result.image)


def test_a_source_that_changed_since_it_was_read_is_noticed(frame, fast_recipe, tmp_path):
    result = restore(read(frame), fast_recipe)
    other = np.ones((7, 9), np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(other, name="OTHER")]).writeto(frame, overwrite=True)
    with pytest.warns(UserWarning, match="was changed since it was read: what else it contains is not"):
        write(tmp_path / "out.fits", result)
    with fits.open(tmp_path / "out.fits") as hdus:
        np.testing.assert_array_equal(hdus[0].data, result.image)
        assert "OTHER" not in [hdu.name for hdu in hdus]
