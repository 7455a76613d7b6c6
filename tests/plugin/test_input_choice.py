"""Which layer a dock takes as its image."""

from napari_dip.plugin.session.run import State


def offered(dock):
    combo = dock.inputs.image
    return [combo.itemText(number) for number in range(combo.count())]


def test_a_result_may_be_restored_further_but_the_image_stays(viewer, quick_dock, pixels, click, qtbot):
    dock = quick_dock("Denoise")
    viewer.add_image(pixels, name="a")
    click(dock.run_controls.run_button)
    qtbot.waitUntil(lambda: dock.session.state == State.IDLE, timeout=300_000)
    dock.result_controls.extra_boxes["residual"].click()
    assert [layer.name for layer in viewer.layers] == ["a", "a [restored]", "a [residual]"]
    assert offered(dock) == ["a [restored]", "a"]  # and not its residual
    assert dock.inputs.layer.name == "a"


def test_a_point_spread_function_that_is_opened_last_does_not_become_the_image(
    viewer, quick_dock, pixels
):
    dock = quick_dock("Deconvolve")
    viewer.add_image(pixels, name="a")
    viewer.add_image(pixels[40:55, 40:55], name="psf")
    assert offered(dock) == ["psf", "a"]
    assert dock.inputs.layer.name == "a"
