import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_dip import Header, Observation, Recipe, read, restore, write
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.io import ImageData, read_images, read_provenance, read_recipe, write_image


@pytest.mark.filterwarnings("ignore:.* is one part of an image")
def test_every_real_file_opens(data_folder):
    paths = sorted((data_folder / "microscopy").glob("*.tif*"))
    assert paths
    for path in paths:
        image = read_images(path)[0]
        assert len(image.axes) == image.array.ndim, path
        assert image.array.dtype.isnative
        np.testing.assert_array_equal(image.array, tifffile.imread(path, _multifile=False), str(path))


# What the files' makers say of them: axes, pixel sizes (in micrometres), channel names.
EXPECTED = {
    "4D-series.ome.tif": ("TZYX", {}, ()),
    "bbbc022_IXMtest_A02_s9_composite.tif": (
        "CYX", {}, ("IXMtest_A02_s9_c1.tif", "IXMtest_A02_s9_c2.tif", "IXMtest_A02_s9_c3.tif"),
    ),
    "bead_psf_stack_um.tif": ("ZYX", {"X": 0.0224919, "Y": 0.0224919, "Z": 0.125}, ()),
    "bigendian_u16_chessboard.tif": ("YX", {}, ()),
    "cancer_cell_migration_crop.tif": ("TYX", {}, ()),
    "cells3d2ch.tiff": ("CZYX", {"X": 1, "Y": 1, "Z": 1}, ("membrane", "nuclei")),
    "chromosomes_rgb_lzw.tif": ("YXC", {}, ()),
    "examplefly_palette_u8.tif": ("YX", {}, ()),
    "flybrain_lzw.tiff": ("YXC", {}, ()),
    "grey10kx5k_deflate.tif": ("YX", {}, ()),
    "hela-cells.tif": ("YXC", {"X": 0.0514931, "Y": 0.0514931, "Z": 0.0514931}, ()),
    "imagej_5channel_64.tif": ("CYX", {}, ()),
    "imagej_tzyx_336p.tif": ("TZYX", {}, ()),
    "impy_lowsnr_tzcyx_hyperstack.tif": ("TZCYX", {"X": 0.21667, "Y": 0.21667, "Z": 0.38}, ()),
    "maize_clsm.tif": ("YX", {}, ()),
    "membrane_2d_timelapse.tif": ("TYX", {}, ()),
    "metamorph_stk_kind.tif": ("YX", {"X": 0.645, "Y": 0.645}, ()),
    "multi-channel-z-series.ome.tif": ("CZYX", {}, ()),
    "multi-channel.ome.tif": ("CYX", {}, ()),
    **{f"multifile-Z{n}.ome.tiff": ("YX", {}, ()) for n in range(1, 6)},
    "neuron-4Ch_labels_bigtiff.ome.tiff": (
        "CYX", {"X": 0.1240804, "Y": 0.1240804}, ("DAPI", "FTN", "NCOA4", "PHALL"),
    ),
    "nikon_rgb_deflate.tif": ("YXC", {}, ()),
    "pims_tiff_stack_lowsnr.tif": ("ZYX", {}, ()),
    "pyramid_tiled_jpeg_orientation6.tif": ("YX", {}, ()),
    "pyramid_tiled_zstd_bigtiff_10kx5k.tiff": ("YXC", {}, ()),
    "stardist_img2d_dsb2018.tif": ("YX", {}, ()),
    "stardist_img3d_deflate.tif": ("TYX", {}, ()),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.* is one part of an image")
def test_axes_sizes_and_channels_of_every_file_are_read(data_folder):
    found = {}
    for path in sorted((data_folder / "microscopy").glob("*.tif*")):
        header = read_images(path)[0].header
        assert {unit for _, unit in header.pixel_size.values()} <= {"um"}
        sizes = {a: pytest.approx(size, rel=1e-4) for a, (size, _) in header.pixel_size.items()}
        found[path.name] = (read_images(path)[0].axes, sizes, header.channels)
    assert found == EXPECTED


def test_a_metamorph_stack_opens_under_its_own_suffix(data_folder, tmp_path, refused):
    source = data_folder / "microscopy" / "metamorph_stk_kind.tif"
    (tmp_path / "a.STK").write_bytes(source.read_bytes())
    (image,) = read_images(tmp_path / "a.STK")
    np.testing.assert_array_equal(image.array, tifffile.imread(source))
    assert image.header.name == "Cy5"
    with pytest.raises(WriteError, match=r"files of this kind are only read; write \.tif"):
        write_image(tmp_path / "b.stk", image)


def test_every_level_of_a_pyramid_is_there(data_folder):
    path = data_folder / "microscopy" / "pyramid_tiled_zstd_bigtiff_10kx5k.tiff"
    (image,) = read_images(path)
    for number, level in enumerate((image.array, *image.levels)):
        np.testing.assert_array_equal(level, tifffile.imread(path, level=number))
    assert number == 4


def test_planes_in_files_of_one_folder_are_one_image(tmp_path):
    planes = np.random.default_rng(0).integers(1, 255, (3, 40, 50), np.uint8)
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image'
        ' ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" SizeX="50" SizeY="40" SizeZ="3"'
        ' SizeC="1" SizeT="1" Type="uint8"><Channel ID="Channel:0:0"/>'
        + "".join(
            f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="FOLDERz{z}.ome.tif">'
            f"urn:uuid:{z}</UUID></TiffData>"
            for z in range(3)
        )
        + "</Pixels></Image></OME>"
    )

    def spread(folder, prefix=""):
        folder.mkdir()
        for z, plane in enumerate(planes):
            tifffile.imwrite(
                folder / f"z{z}.ome.tif", plane, description=xml.replace("FOLDER", prefix), metadata=None
            )
        return folder / "z1.ome.tif"

    (image,) = read_images(spread(tmp_path / "whole"))
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, planes)
    path = spread(tmp_path / "part")
    path.with_name("z2.ome.tif").unlink()
    (image,) = read_images(path)
    np.testing.assert_array_equal(image.array[:2], planes[:2])
    np.testing.assert_array_equal(image.bad_mask.all(axis=(1, 2)), [False, False, True])
    (image,) = read_images(spread(tmp_path / "outside", "../whole/"))  # no path out of the folder
    assert image.bad_mask is None or image.bad_mask.sum() >= 2 * planes[0].size or image.array.ndim == 2


def test_a_large_file_is_read_lazily(tmp_path, monkeypatch):
    array = np.random.default_rng(0).normal(100, 9, (3, 2100, 60)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"}, compression="zlib")
    monkeypatch.setattr("napari_dip.core.arrays.MAX_ARRAY_SHARE", 1e-9)
    (image,) = read_images(tmp_path / "a.tif")
    assert not isinstance(image.array, np.ndarray)
    assert image.array.chunks[0] == (1, 1, 1)
    np.testing.assert_array_equal(image.array[1, 2040:2060].compute(), array[1, 2040:2060])
    np.testing.assert_array_equal(image.to_observation().y[0, 0], array)
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-5000])
    with pytest.raises(ReadError, match="cut off"):
        read_images(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", array)
    (tmp_path / "c.tif").replace(tmp_path / "a.tif")
    with pytest.raises(ReadError, match="changed or moved"):
        image.array[0].compute()


def test_only_photographs_are_rgb(data_folder):
    assert read_images(data_folder / "microscopy" / "chromosomes_rgb_lzw.tif")[0].rgb
    assert not read_images(data_folder / "microscopy" / "hela-cells.tif")[0].rgb


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX", "ZYX", "TZCYX"])
def test_a_result_comes_back_with_axes_sizes_names_and_recipe(fast_recipe, tmp_path, axes):
    shape = [{"T": 2, "C": 3, "Z": 2, "Y": 33, "X": 40}[a] for a in axes]
    header = Header(
        pixel_size={"X": (0.2, "um"), "Y": (0.3, "um"), "Z": (1.5, "um"), "T": (2.0, "s")},
        channels=("a", "b", "c") if "C" in axes else (),
        description="the microscope's own words, 5 µm",
    )
    array = np.random.default_rng(0).normal(100, 9, shape)
    mask = np.zeros(shape, bool)
    mask[..., 10:12, 4:7] = axes.endswith("YX")
    observation = Observation.from_array(array, axes=axes, mask=mask, header=header)
    result = restore(observation, fast_recipe)
    path = tmp_path / "out.ome.tif"
    write(path, result)
    (image,) = read_images(path)
    order = [axes.index(letter) for letter in image.axes]
    np.testing.assert_array_equal(image.array, result.image.transpose(order))
    assert image.axes.endswith("YX")
    for letter in axes.replace("C", ""):
        assert image.header.pixel_size[letter] == header.pixel_size[letter]
    assert image.header.channels == header.channels
    if mask.any():
        np.testing.assert_array_equal(image.bad_mask, result.inpainted.transpose(order))
    assert Recipe.from_json(read_recipe(path)) == fast_recipe
    with tifffile.TiffFile(path) as tiff:
        assert "the microscope's own words" in tiff.ome_metadata


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "int64", "bool", "float16", "float64"])
def test_saving_keeps_every_value(tmp_path, kind):
    limits = (-100, 100) if kind in ("int8", "int64", "float16", "float64") else (0, 2)
    array = np.random.default_rng(0).integers(*limits, (40, 50)).astype(kind)
    if kind == "int64":
        array[0, 0] = 2**40 + 5
    write_image(tmp_path / "a.tif", ImageData(array, "YX"))
    np.testing.assert_array_equal(read_images(tmp_path / "a.tif")[0].array, array)


def test_a_photograph_stays_one(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    write_image(tmp_path / "a.tif", ImageData(array, "YXC", rgb=True))
    (image,) = read_images(tmp_path / "a.tif")
    assert image.rgb
    np.testing.assert_array_equal(image.array, array)


def test_forbidden_characters_in_the_source_do_not_spoil_the_output(tmp_path):
    header = Header(name="a\x00b", description="abc\x01\ud800 µm", pixel_size={"X": (1.0, "arcsec")})
    write_image(tmp_path / "a.tif", ImageData(np.eye(40), "YX", header=header))
    assert "abc µm" in tifffile.TiffFile(tmp_path / "a.tif").ome_metadata
    np.testing.assert_array_equal(read_images(tmp_path / "a.tif")[0].array, np.eye(40))


def test_planes_that_the_file_promises_but_lacks_are_missing(tmp_path):
    path = tmp_path / "short.ome.tif"
    data = np.random.default_rng(0).integers(1, 255, (2, 40, 40), np.uint8)
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZYX"})
    promised = path.read_bytes().replace(b'SizeZ="2"', b'SizeZ="3"')
    path.write_bytes(promised)
    image = read_images(path)[0]
    if image.array.shape[0] == 3:
        assert image.bad_mask[2].all()
        assert not image.bad_mask[:2].any()
    else:
        np.testing.assert_array_equal(image.array, data)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"text", b"MM\0*" + b"\xff" * 50])
def test_a_broken_file_is_one_sentence_with_its_name(tmp_path, content):
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"broken\.tif") as error:
        read_images(path)
    assert "\n" not in str(error.value)


def test_fits_becomes_tiff_and_keeps_its_header(fast_recipe, tmp_path):
    from napari_dip.datasets import star_field

    star_field(side=64, stars=5).writeto(tmp_path / "in.fits")
    write(tmp_path / "out.tif", restore(read(tmp_path / "in.fits"), fast_recipe))
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert "RA---TAN" in tiff.ome_metadata


def test_a_file_that_we_did_not_write_has_no_recipe(data_folder):
    with pytest.raises(ReadError, match="no recipe"):
        read_recipe(data_folder / "microscopy" / "maize_clsm.tif")


SOURCE = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="the microscope">
<Experimenter ID="Experimenter:1" FirstName="Marie" LastName="C."/>
<Instrument ID="Instrument:0"><Microscope Model="M 5" Type="Inverted"/>
<Detector ID="Detector:0:0" Model="CCD" Gain="2.5"/><Objective ID="Objective:0:0" LensNA="1.4"/>
</Instrument>
<Image ID="Image:7" Name="embryo"><AcquisitionDate>2020-02-03T04:05:06</AcquisitionDate>
<ExperimenterRef ID="Experimenter:1"/><Description>its own words</Description>
<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0:0" Medium="Oil"/>
<Pixels ID="Pixels:7" DimensionOrder="XYZCT" Type="uint16" SizeX="50" SizeY="40" SizeZ="1" SizeC="2"
 SizeT="1" PhysicalSizeX="0.2" PhysicalSizeY="0.2" BigEndian="false" SignificantBits="12">
<Channel ID="Channel:7:0" Name="GFP" EmissionWavelength="509" SamplesPerPixel="1">
<DetectorSettings ID="Detector:0:0" Gain="2.5"/></Channel>
<Channel ID="Channel:7:1" Name="DAPI" Color="65535" SamplesPerPixel="1"/>
<TiffData/><Plane TheC="0" TheT="0" TheZ="0" ExposureTime="0.3"/></Pixels>
<ROIRef ID="ROI:0"/><AnnotationRef ID="Annotation:0"/></Image>
<StructuredAnnotations>
<CommentAnnotation ID="Annotation:0"><Value>mind the gap</Value></CommentAnnotation>
<XMLAnnotation ID="Annotation:1" Namespace="x"><Value><Own><Part>1</Part></Own></Value></XMLAnnotation>
</StructuredAnnotations>
<ROI ID="ROI:0"><Union><Point ID="Shape:0" X="3" Y="4"/></Union></ROI></OME>"""


@pytest.mark.parametrize("zoom", [1, 2])
def test_what_the_microscope_said_is_said_again(fast_recipe, tmp_path, zoom):
    ome_types = pytest.importorskip("ome_types", reason="ome-types is not installed")
    array = np.random.default_rng(0).normal(500, 9, (2, 40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.ome.tif", array, description=SOURCE.encode(), metadata=None)
    recipe = (
        fast_recipe
        if zoom == 1
        else fast_recipe.with_settings({"operator.kind": "downsample", "operator.scale_factor": 2})
    )
    observation = read_images(tmp_path / "in.ome.tif")[0].to_observation()
    write(tmp_path / "out.ome.tif", restore(observation, recipe))
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        xml = tiff.ome_metadata
        assert [series.name for series in tiff.series] == ["embryo", "RESIDUAL"]
    ome_types.validate_xml(xml)
    said = ome_types.from_xml(xml)
    image = said.images[0]
    assert (image.id, image.name, image.description) == ("Image:7", "embryo", "its own words")
    assert image.acquisition_date.year == 2020
    assert image.pixels.type.value == "float"
    assert image.pixels.size_x == 50 * zoom
    assert image.pixels.physical_size_x == pytest.approx(0.2 / zoom)
    assert image.pixels.significant_bits is None
    assert [c.name for c in image.pixels.channels] == ["GFP", "DAPI"]
    assert image.pixels.channels[0].emission_wavelength == 509
    assert image.pixels.planes[0].exposure_time == 0.3
    assert said.instruments[0].detectors[0].gain == 2.5
    assert said.experimenters[0].first_name == "Marie"
    assert "mind the gap" in xml
    assert "<Part" in xml or ":Part" in xml
    assert len(said.rois) == (1 if zoom == 1 else 0)  # a region's pixels are those of its own grid
    assert Recipe.from_json(read_recipe(tmp_path / "out.ome.tif")) == recipe
    (again,) = read_images(tmp_path / "out.ome.tif")
    assert again.header.channels == ("GFP", "DAPI")


def test_the_residual_is_written_in_units_of_the_noise(fast_recipe, tmp_path):
    array = np.random.default_rng(0).normal(100, 9, (40, 48)).astype(np.float32)
    result = restore(Observation.from_array(array, axes="YX"), fast_recipe)
    for name in ("a.fits", "a.ome.tif"):
        write(tmp_path / name, result)
        assert len(read_images(tmp_path / name)) == 1  # it is no image to restore
    written = (
        fits.getdata(tmp_path / "a.fits", "RESIDUAL"),
        tifffile.imread(tmp_path / "a.ome.tif", series=1),
    )
    for residual in written:
        np.testing.assert_allclose(residual * result.noise_std, array - result.image, atol=1e-3)
    chi_square = float(np.mean(written[0].astype(float) ** 2))
    assert f"chi-square {chi_square:.2f}" in result.summary


def test_integers_are_rounded_and_the_clipped_fraction_is_returned(fast_recipe, tmp_path):
    array = np.random.default_rng(0).normal(255, 60, (40, 48))
    mask = np.zeros(array.shape, bool)
    mask[5, 5] = True
    result = restore(Observation.from_array(array, axes="YX", mask=mask), fast_recipe)
    for name in ("a.fits", "a.ome.tif", "b.tif"):
        kind = "imagej" if name == "b.tif" else "auto"
        clipped = write(tmp_path / name, result, dtype="uint8", format=kind)
        assert clipped == np.mean(np.rint(result.image) > 255) > 0
        (image,) = read_images(tmp_path / name)
        assert image.array.dtype == np.uint8
        np.testing.assert_array_equal(image.array, np.clip(np.rint(result.image), 0, 255))
        assert read_provenance(tmp_path / name)["stored"] == {
            "dtype": "uint8",
            "clipped": clipped,
            "format": kind,
        }
    with pytest.raises(WriteError, match="float64 is not an integer type"):
        write(tmp_path / "c.tif", result, dtype="float64")


def test_nan_is_marked_as_bad_among_integers():
    array = np.array([[1.4, np.nan], [-3, 300]])
    image, clipped = ImageData(array, "YX").to_integer("uint8")
    np.testing.assert_array_equal(image.array, [[1, 0], [0, 255]])
    np.testing.assert_array_equal(image.bad_mask, [[False, True], [False, False]])
    assert clipped == 0.5


def test_imagej_files_have_axes_and_pixel_sizes(fast_recipe, tmp_path):
    header = Header(pixel_size={"X": (0.2, "um"), "Y": (0.3, "um"), "Z": (1.5, "um"), "T": (2.0, "s")})
    array = np.random.default_rng(0).normal(100, 9, (2, 2, 3, 33, 40))
    result = restore(Observation.from_array(array, axes="TZCYX", header=header), fast_recipe)
    write(tmp_path / "a.tif", result, format="imagej")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.series[0].axes == "TZCYX"
    (image,) = read_images(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, result.image)
    for letter, (size, unit) in header.pixel_size.items():
        assert image.header.pixel_size[letter] == (pytest.approx(size, rel=1e-5), unit)
    assert Recipe.from_json(read_recipe(tmp_path / "a.tif")) == fast_recipe
    with pytest.raises(WriteError, match=r"ImageJ files are TIFF; write \.tif"):
        write(tmp_path / "a.fits", result, format="imagej")
