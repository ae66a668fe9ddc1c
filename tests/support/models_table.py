"""`docs/models.md`: each architecture, each site, each host: yes, some layers, or why not.

python -m support.models_table > docs/models.md    # from the folder `tests`
"""

import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from support import tiny_models
from support.conformance import HOSTS, Conformance, conformance
from support.every_architecture import NOT_MADE, architectures
from support.plans import SITES

PINS = Path(__file__).parents[2] / "constraints.txt"
LETTERS = {"transformers": "H", "nnsight": "N", "transformer_lens": "T"}
HEAD = """# Models

What each host has of each causal language model that TransformerLens maps and transformers ships a
class for. **H** is a plain Hugging Face model, **N** nnsight (here and on NDIF), **T** is
TransformerLens; a small letter: in some layers only, since others are of another kind. Beside it
stands a bound of the largest deviation from plain PyTorch hooks, from the model's own hidden states
and from the sums and activation functions that a block is made of, over readings and steering of
batches with padding, as a share of the largest number there (float32). Below is why a letter is
missing. Made by `make models`, with the versions of `constraints.txt`; a test compares. With
TransformerLens 3.9 no host has more than this, and what it has is held to the same bound.

An encoder-decoder, such as T5, is refused: sites and embeddings are of a decoder that reads a text
once. Of an encoder there would be no generation, and positions of two kinds.
"""


def is_of_these_versions() -> bool:
    """Tell whether the libraries that the table depends on are those that it was made with."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    return all(version(name) == pins[name] for name in ("transformer-lens", "transformers"))


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


def reasons(seen: Conformance) -> list[str]:
    """List why sites are missing, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for (host, site), reason in seen.reasons.items():
        if not seen.layers.get((host, site)) and site != "mlp.hook_pre_linear":
            text = reason.partition("; choose")[0].removeprefix("tiny: ").removeprefix("tiny ")
            by_reason.setdefault(text, []).append(f"{LETTERS[host]} `{site}`")
    return [f"  - {', '.join(places)}: {reason}" for reason, places in by_reason.items()]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    tokenizer = tiny_models.tokenizer(Path(tempfile.mkdtemp()), adds_bos=True)
    lines, why = [], []
    for architecture in architectures():
        if architecture in NOT_MADE:
            lines.append(f"| `{architecture}` |{' not tried |' * len(SITES)} |")
            why.append(f"- `{architecture}`: {NOT_MADE[architecture]}")
            continue
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
    print("\n## Why not\n\nAn MLP without a gate has no `mlp.hook_pre_linear`.\n")
    print("\n".join(why))


if __name__ == "__main__":
    main()
