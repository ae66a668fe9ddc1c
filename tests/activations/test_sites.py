import numpy as np
import pytest

from steer_plugin.activations.sites import UnitSpace, check_site, hook_name
from steer_plugin.errors import SiteError
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import SITES

SPACE = UnitSpace("mlp.hook_post", (1, 4, 5), (3, 1, 4))
UNITS = [(1, 0), (1, 1), (1, 2), (4, 0), (5, 0), (5, 1), (5, 2), (5, 3)]


def test_every_site_that_is_promised_is_there() -> None:
    assert list(SITES) == [
        *("mlp.hook_post", "mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_router_logits"),
        "hook_mlp_out",
        *("attn.hook_z", "attn.hook_z.heads", "hook_attn_out", "hook_resid_post"),
        "ln_final.hook_out",
    ]
    for site in SITES:
        check_site(site)


@pytest.mark.parametrize("site", ["mlp.hook_past", "blocks.0.mlp.hook_post", "", "HOOK_MLP_OUT"])
def test_a_name_that_is_no_site_is_refused_with_the_choices(site: str) -> None:
    with pytest.raises(
        SiteError, match=rf"^'{site}' is not a site; choose one of: mlp\.hook_post, "
    ):
        check_site(site)


def test_hooks_are_named_as_in_transformer_lens() -> None:
    assert hook_name("mlp.hook_post", 12) == "blocks.12.mlp.hook_post"
    assert hook_name(FINAL_NORM, 0) == "ln_final.hook_out"


def test_units_are_numbered_layer_after_layer() -> None:
    assert len(SPACE) == 8
    layers, indices = SPACE.addresses(np.arange(8))
    assert list(zip(layers.tolist(), indices.tolist(), strict=True)) == UNITS
    assert [SPACE.label(unit) for unit in range(8)] == [f"L{a}N{b}" for a, b in UNITS]


def test_a_label_is_read_as_it_is_printed() -> None:
    assert [SPACE.parse(SPACE.label(unit)) for unit in range(8)] == list(range(8))
    with pytest.raises(SiteError, match=r"unit L5N4 does not exist: mlp\.hook_post has 4 units in"):
        SPACE.parse("L5N4")
    with pytest.raises(SiteError, match=r"layer 2 has no units at mlp\.hook_post; the layers are"):
        SPACE.parse("L2N0")
    with pytest.raises(SiteError, match=r"'5\.0' is no unit; write its layer and index, such as"):
        SPACE.parse("5.0")


def test_addresses_keep_the_order_that_is_asked_for() -> None:
    layers, indices = SPACE.addresses(np.array([7, 0, 3, 0]))
    assert layers.tolist() == [5, 1, 4, 1]
    assert indices.tolist() == [3, 0, 0, 0]
    assert SPACE.addresses(np.array([], dtype=np.int64))[0].tolist() == []


@pytest.mark.parametrize(("layer", "units"), [(1, slice(0, 3)), (4, slice(3, 4)), (5, slice(4, 8))])
def test_a_layer_holds_a_range_of_units(layer: int, units: slice) -> None:
    assert SPACE.layer_slice(layer) == units


@pytest.mark.parametrize("layer", [0, 2, 6, -1])
def test_a_layer_that_is_not_there_is_refused_with_the_choices(layer: int) -> None:
    message = rf"layer {layer} has no units at mlp\.hook_post; the layers are \[1, 4, 5\]"
    with pytest.raises(SiteError, match=message):
        SPACE.layer_slice(layer)


def test_spaces_with_the_same_units_are_equal() -> None:
    same = UnitSpace("mlp.hook_post", (1, 4, 5), (3, 1, 4))
    SPACE.addresses(np.arange(8))
    assert same == SPACE
    assert hash(same) == hash(SPACE)
    assert UnitSpace("mlp.hook_pre", (1, 4, 5), (3, 1, 4)) != SPACE
    assert UnitSpace("mlp.hook_post", (1, 4, 5), (3, 1, 5)) != SPACE
