"""What a report calls the units that were chosen: from which end, in which layers."""

from steer_plugin.analyses.run.results import Results
from steer_plugin.experts.selection import TOP, Choice


def choice_of(results: Results) -> Choice:
    """Give how the run chose its units; where its provenance does not say, the k best of all.

    Raises:
        SelectionError: what it says is not understood.
    """
    selection = results.provenance.get("selection")
    return TOP if selection is None else Choice.parse(selection)


def end_phrase(choice: Choice) -> str:
    """Say by which scores units are chosen, as after "the k"."""
    return {"top": "best", "bottom": "lowest-scoring", "top+bottom": "best and lowest-scoring"}[
        choice.selection
    ]


def in_each_layer(choice: Choice) -> str:
    """Say, after k, where it counts each layer by itself."""
    return " in each layer" if choice.per_layer else ""


def of_layers(choice: Choice) -> str:
    """Say, after some units, of which layers they are; nothing where these are all."""
    if choice.layers is None:
        return " of each layer" if choice.per_layer else ""
    blocks = _blocks(*choice.layers)
    return f" of each of {blocks}" if choice.per_layer and " to " in blocks else f" of {blocks}"


def k_of_layers(choice: Choice) -> str:
    """Say, after a comma, of which layers k units are; nothing where these are all."""
    where = of_layers(choice)
    return f", k{where}" if where else ""


def experts(choice: Choice, k: int, language: str) -> str:
    """Name the k experts for a language: "the top 300 German experts"."""
    which = {
        "top": f"top {k}",
        "bottom": f"bottom {k}",
        "top+bottom": f"top {k - k // 2} and bottom {k // 2}",
    }[choice.selection]
    return f"the {which} {language} experts{of_layers(choice)}"


def definition(choice: Choice) -> str:
    """Say what is called an expert where it is not a unit that scores high, after a semicolon."""
    return {
        "top": "",
        "bottom": "; experts are here the neurons that score lowest",
        "top+bottom": "; experts are here the neurons that score highest and those that score "
        "lowest, half of k each",
    }[choice.selection]


def ranking(choice: Choice, score: str, site: str) -> str:
    """Say which units are experts: "the k units with the highest AUROC at mlp.hook_post, ..."."""
    scores = {"top": "highest", "bottom": "lowest", "top+bottom": "highest and the lowest"}
    where = of_layers(choice)
    return (
        f"the k units{where} with the {scores[choice.selection]} {score} at {site}"
        f"{', half of k each' if choice.selection == 'top+bottom' else ''}"
        f"{'' if where else ', ranked over all layers'}"
    )


def _blocks(first: int, last: int) -> str:
    return f"block {first}" if first == last else f"blocks {first} to {last}"
