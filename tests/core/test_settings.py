import json

import pytest

from napari_dip import Recipe, list_presets
from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings, iter_fields, union_members


def test_every_setting_has_a_sentence():
    for name, field in iter_fields(Recipe):
        if not name.endswith("kind"):
            assert field.description, name
            assert field.description.rstrip().endswith((".", "]")), name


def test_presets_are_recipes_that_survive_json():
    assert {"denoise", "inpaint", "super-resolution", "deconvolve", "coadd"} <= set(list_presets())
    for name in list_presets():
        recipe = Recipe.preset(name)
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert recipe.description


def test_with_settings_changes_some_settings_and_leaves_the_rest():
    recipe = Recipe.preset("denoise")
    changed = recipe.with_settings({"noise.sigma": 12.0, "seed": 4})
    assert changed.noise.sigma == 12.0
    assert changed.seed == 4
    assert changed.with_settings({"noise.sigma": None, "seed": 0}) == recipe


def test_quality_changes_the_speed_of_a_preset_and_not_its_task():
    for name in list_presets():
        recipe = Recipe.preset(name)
        assert recipe.with_quality("balanced") == recipe
        fast, best = recipe.with_quality("fast"), recipe.with_quality("best")
        if recipe.solver.method == "patches":  # which have no network
            assert fast == best == recipe
            continue
        assert (fast.network.channels, fast.ensemble.size, best.ensemble.size) == (16, 1, 4)
        for kept in ("operator", "noise", "network_input", "regularization", "hard_data_consistency"):
            assert getattr(fast, kept) == getattr(best, kept) == getattr(recipe, kept)
    with pytest.raises(SettingsError, match="fast, balanced, best"):
        recipe.with_quality("slow")


def test_quality_ignores_settings_that_the_recipe_lacks():
    decoder = Recipe.preset("denoise").with_settings({"network.kind": "deep-decoder"})
    assert decoder.with_quality("fast").network.kind == "deep-decoder"


def test_changing_a_kind_starts_from_its_own_defaults():
    recipe = Recipe.preset("denoise").with_settings({"stopping.kind": "fixed", "solver.max_steps": 7})
    assert recipe.stopping.kind == "fixed"
    assert recipe.solver.max_steps == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise.sigmaa": 1}, "did you mean 'noise.sigma'"),
        ({"sed": 1}, "did you mean 'seed'"),
        ({"noise.sigma": -1}, "greater than 0"),
        ({"network.depth": "deep"}, "integer"),
        ({"stopping.kind": "never"}, "stopping"),
        ({"seed.deep.er": 1}, "single value"),
        ({"solver.learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_a_mistyped_setting_is_refused_in_one_sentence(changes, said):
    with pytest.raises(SettingsError, match=said) as error:
        Recipe.preset("denoise").with_settings(changes)
    assert "\n" not in str(error.value)


HOSTILE = {
    "no JSON": "{",
    "a list": "[]",
    "a number for a group": '{"solver": 3}',
    "a list for a group": '{"noise": [1]}',
    "null for a group": '{"solver": null}',
    "a setting of a newer version": '{"color_space": {"kind": "lab"}}',
    "another class": '{"__class__": "os.system"}',
    "nested without end": "[" * 10**5,
    "a number of 10,000 digits": '{"seed": ' + "1" * 10_000 + "}",
    "a number of 1,000 digits": '{"seed": ' + "1" * 1_000 + "}",
    "a title of a megabyte": json.dumps({"title": "x" * 10**6}),
    "NaN": '{"solver": {"learning_rate": NaN}}',
    "infinite": '{"solver": {"learning_rate": Infinity}}',
    "1e400": '{"compute": {"memory_limit_gb": 1e400}}',
    "more memory than there is": '{"compute": {"memory_limit_gb": 1e30}}',
    "a billion channels": '{"network": {"kind": "hourglass", "channels": 1000000000}}',
    "a depth of a thousand": '{"network": {"kind": "hourglass", "depth": 1000}}',
    "10^18 steps": '{"solver": {"max_steps": 1000000000000000000}}',
    "a million fits": '{"ensemble": {"size": 1000000}}',
    "a million times as fine": '{"operator": {"kind": "downsample", "scale_factor": 1000000}}',
    "a path for a kind": '{"operator": {"kind": "../../etc/passwd"}}',
    "text for a number": '{"seed": "seven"}',
    "twice": '{"seed": 1, "seed": -1}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_recipe_is_refused_in_one_sentence(tmp_path, kind):
    path = tmp_path / "my.json"
    path.write_text(HOSTILE[kind])
    with pytest.raises(SettingsError, match=r"my\.json") as error:
        Recipe.from_file(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 200


def test_a_recipe_of_another_version_is_refused_as_such():
    with pytest.raises(
        SettingsError, match="there is no setting 'color_space'; it may belong to another version"
    ):
        Recipe.from_json('{"seed": 1, "color_space": "lab"}')


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    with (tmp_path / "my.json").open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no room
    with pytest.raises(SettingsError, match="1,000,000,000,000 bytes"):
        Recipe.from_file(tmp_path / "my.json")


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(SettingsError, match="did you mean 'denoise'"):
        Recipe.preset("denoize")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe.preset("denoise").seed = 3


def test_union_members_lists_all_kinds():
    kinds = union_members(Recipe.model_fields["stopping"].annotation)
    assert {kind.model_fields["kind"].default for kind in kinds} == {
        "auto",
        "data-fission",
        "fixed",
        "hold-out",
        "variance",
    }
    assert all(issubclass(kind, Settings) for kind in kinds)


def test_basic_fields_are_fields():
    kinds = [
        Recipe,
        *(kind for group in Recipe.model_fields.values() for kind in union_members(group.annotation)),
    ]
    assert len(kinds) > 20
    for kind in kinds:
        assert set(kind.basic_fields) <= set(kind.model_fields), kind.__name__
