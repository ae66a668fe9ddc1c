"""Architectures on every host, held to transformers' own words; see `support.conformance`.

Here one for each row that the table of docs/models.md has; `make models` runs them all, and the
gate compares its table with what it was.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import pytest
import transformers

from steer_plugin import Intervention, adapt, steered
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.settings.names import FINAL_NORM

from support import every_architecture, models_table
from support.conformance import HOSTS, SITES, conformance
from support.every_architecture import architectures

TABLE = Path(__file__).parents[2] / "docs" / "models.md"
WORST = 1e-5
GROUPS = 4  # for workers, which take a file whole otherwise
ROWS = {
    line.split("`")[1]: line
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
}
OF_EACH_KIND = sorted({row.split("`", 2)[2]: name for name, row in ROWS.items()}.values())


def test_the_table_has_each_architecture() -> None:
    assert sorted(ROWS) == architectures()


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=pytest.mark.xdist_group(f"architectures {number % GROUPS}"))
        for number, name in enumerate(OF_EACH_KIND)
    ],
)
def test_every_site_is_itself_or_refused_by_name_on_every_host(
    architecture: str, shipped: Callable[[str], Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a tiny configuration lacks
        seen = conformance(architecture, shipped("llama"))

    assert seen.deviation < WORST, seen.worst
    assert models_table.row(seen) == ROWS[architecture]
    for host in HOSTS:
        for site in SITES:
            if not seen.layers.get((host, site)):
                assert seen.reasons[host, site]


def test_an_encoder_decoder_is_refused_in_a_line(shipped: Callable[[str], Any]) -> None:
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=68)
    )
    refusal = "^t5 is an encoder-decoder; give a causal language model, see docs/models.md$"
    plan = Intervention("hook_resid_post", (0,), (0,), (1.0,))

    for hosted in (model, nnsight.NNsight(model)):
        with pytest.raises(ModelError, match=refusal):
            adapt(hosted, tokenizer=shipped("llama"))
    with pytest.raises(ModelError, match=refusal), steered(model, plan):
        pass


def test_what_is_run_twice_in_a_pass_is_refused(shipped: Callable[[str], Any]) -> None:
    model = every_architecture.tiny("LlamaForCausalLM")
    norm = model.model.norm
    model.model.layers[0].register_forward_hook(lambda *given: norm(given[2]))

    with pytest.raises(SiteError, match="is run 2 times in a pass"):
        adapt(model, tokenizer=shipped("llama")).space(FINAL_NORM)
