"""`docs/models.md`: each architecture, each site, each host: yes, some layers, or why not.

python -m support.models_table > docs/models.md    # from the folder `tests`
"""

import sys
import tempfile
import warnings
from pathlib import Path

from steer_plugin.adapters.shared.component_paths import NO_ROUTER
from steer_plugin.settings.names import ROUTER

from support import tiny_models
from support.conformance import HOSTS, SITES, Conformance, conformance
from support.every_architecture import architectures

LETTERS = {"transformers": "H", "nnsight": "N", "transformer_lens": "T"}
HEAD = """# Models

What each host has of each causal language model that TransformerLens maps and transformers ships a
class for, and of some that read images as well. **H** is a plain Hugging Face model, **N** nnsight
(here and on NDIF), **T** is TransformerLens; a small letter: in some layers only, since others are
of another kind. Beside it stands a bound of the largest deviation from plain PyTorch hooks, from
the model's own hidden states and from the sums and activation functions that a block is made of,
over readings and steering of batches with padding, as a share of the largest number there
(float32). Below is why a letter is missing. Made by `make models`, and held to it by the gate.

An encoder-decoder, such as T5, is refused: sites and embeddings are of a decoder that reads a text
once. Of an encoder there would be no generation, and positions of two kinds.

Models that read images or sounds as well (Gemma 3, 3n and 4, Llava, Mistral 3, Qwen 2.5-VL) are
taken by their text: the towers beside it are loaded and never run. `load_adapter` and the command
line take them without torchvision and install nothing; `TransformerBridge.boot_transformers` by
hand asks for torchvision before it maps Qwen 2.5-VL, and for timm before Gemma 3n. Gemma 3n is
tried here without its vision tower, which transformers itself takes from timm.

`mlp.hook_router_logits` is what the router of a mixture of experts gives each expert before some
are chosen, [text, token, expert]. It is read and scored like any site, and not steered: a router of
transformers chooses and weighs experts inside the module that computes the logits (`_, weights,
indices = self.gate(...)`), and hands the logits on for a loss alone, so that a change of them would
change nothing.

Neurons within one expert (`L3E5N17`) are no units. transformers 5 holds all experts of a layer in
two parameters, `experts.gate_up_proj` [expert, 2 width, d_model] and `experts.down_proj`. Its
forward loops over the experts that a batch hits or multiplies all at once
(`config._experts_implementation`), taking slices of them, so that a neuron, `act_fn(gate) * up`, is
the input or output of no module. The one module inside, `act_fn`, is given the gate halves of
whatever tokens an expert got, or of all tokens sorted by expert; it sees neither which expert nor
which token that is, and never the product. TransformerLens wraps the experts whole (`MoEBridge`),
and nnsight sees the modules that there are. A forward pass rewritten for each kind of experts would
no longer be the model's own.
"""


WITHOUT_SAYING = (
    "An MLP without a gate has no `mlp.hook_pre_linear`, and one that is no mixture of experts no\n"
    "`mlp.hook_router_logits`."
)


def row(seen: Conformance) -> str:
    """Give the line of an architecture."""
    cells = [_cell(seen, site) for site in SITES]
    bound = "1e-5" if seen.deviation < 1e-5 else f"{seen.deviation:.0e}"
    return " | ".join([f"| `{seen.architecture}`", *cells, f"< {bound} |"])


def _cell(seen: Conformance, site: str) -> str:
    most = max((len(layers) for layers in seen.layers.values()), default=0)
    letters = ""
    for host in HOSTS:
        layers = seen.layers.get((host, site), ())
        whole = len(layers) == most or (layers and site.startswith("ln_final"))
        letters += (LETTERS[host] if whole else LETTERS[host].lower()) if layers else ""
    return letters or "no"


def _goes_without_saying(seen: Conformance, site: str) -> bool:
    dense = NO_ROUTER in seen.reasons.get(("transformers", ROUTER), "")
    return site == "mlp.hook_pre_linear" or (site == ROUTER and dense)


def reasons(seen: Conformance) -> list[str]:
    """List why sites are missing, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for (host, site), reason in seen.reasons.items():
        if not seen.layers.get((host, site)) and not _goes_without_saying(seen, site):
            text = reason.partition("; choose")[0].removeprefix("tiny: ").removeprefix("tiny ")
            by_reason.setdefault(text, []).append(f"{LETTERS[host]} `{site}`")
    return [f"  - {', '.join(places)}: {reason}" for reason, places in by_reason.items()]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    tokenizer = tiny_models.tokenizer(Path(tempfile.mkdtemp()), adds_bos=True)
    lines, why = [], []
    for architecture in architectures():
        seen = conformance(architecture, tokenizer)
        print(architecture, f"{seen.deviation:.1e}", seen.worst, file=sys.stderr)
        lines.append(row(seen))
        given = reasons(seen)
        why += [f"- `{architecture}`", *given] if given else []
    head = " | ".join(["| architecture", *(f"`{site}`" for site in SITES), "deviation |"])
    print(HEAD)
    print(head)
    print("|" + "---|" * (len(SITES) + 2))
    print("\n".join(lines))
    print(f"\n## Why not\n\n{WITHOUT_SAYING}\n")
    print("\n".join(why))


if __name__ == "__main__":
    main()
