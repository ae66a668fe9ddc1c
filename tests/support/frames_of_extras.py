"""Tables of generation, rival methods and controls, with figures such as a small model gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from support.frames import TARGETS

SEVEN = ("eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn", "jpn_Jpan", "rus_Cyrl", "zho_Hans")
KS = (10, 30, 100, 300, 1000, 3000)
RULE = "the highest probability on the front at no more than 1.2 times the unsteered perplexity"
NO_RULE = (
    "no k on the front costs at most 1.2 times the unsteered perplexity and gains beyond its "
    "interval"
)

_REACH = {"deu_Latn": 0.83, "spa_Latn": 0.42, "jpn_Jpan": 0.03, "eng_Latn": 0.2, "fra_Latn": 0.66}
_AXES = ("retrieval", "centred distance", "language probability", "perplexity")
_METHOD_STRENGTHS = {
    "set-mean": 1.0,
    "set-median": 0.85,
    "blend-mean": 0.5,
    "add-mean-difference": 0.65,
    "linear-act": 0.7,
    "linear-act-incremental": 0.72,
    "aura": 0.05,
    "zero": -0.15,
    "steer-mean-difference": 0.55,
    "steer-pca": 0.3,
}
_CONTROL_SHARES = {
    "random-in-layers": 0.84,
    "random-anywhere": 0.62,
    "shuffled-values": 0.91,
    "other-experts": 0.79,
    "bottom": 0.4,
    "shuffled-labels": 0.7,
    "constant-shift": 0.97,
    "centring": -0.33,
}


def set_where(table: pd.DataFrame, where: Mapping[str, Any], **values: Any) -> pd.DataFrame:
    """The same table with other figures in the rows that match."""
    keep = np.logical_and.reduce([table[name] == wanted for name, wanted in where.items()])
    if not keep.any():
        raise ValueError(f"no row has {where}")
    moved = table.copy()
    for name, value in values.items():
        moved.loc[keep, name] = value
    return moved


def _ends(name: str, value: float, half_width: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half_width, f"{name}_high": value + half_width}


def generation_frame(
    *,
    targets: Sequence[str] = TARGETS,
    top_ks: Sequence[int] = KS,
    controlled: bool = True,
    recommended: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """`Results.generation`: the unsteered model, then experts and random neurons at each k.

    Args:
        targets: FLORES-200 codes.
        top_ks: how many neurons are steered.
        controlled: whether random neurons were steered as well.
        recommended: target -> k; a target that is left out has none. None for k = 300.
    """
    chosen = dict.fromkeys(targets, 300) if recommended is None else recommended
    rows = []
    for number, target in enumerate(targets):
        unsteered = 0.02 + 0.013 * number
        perplexity = 18.0 + 9 * number
        reach = _REACH.get(target, 0.3)
        shared = {"target": target, "sentences": 32, "seeds": 4, "documents": 12, "tokens": 9_650}
        shared["resampled"] = "documents"

        def figures(gain: float, cost: float, half_width: float, base: float, level: float) -> Any:
            return {
                **_ends("probability", base + gain, half_width),
                **_ends("gain", gain, half_width),
                **_ends("perplexity", level * cost, 0.1 * level * cost),
                "cost": cost,
                "cost_low": cost ** (1 - 0.08) / 1.01,
                "cost_high": cost ** (1 + 0.08) * 1.01,
            }

        before = {**figures(0.0, 1.0, 0.0, unsteered, perplexity), "on_front": True}
        before |= {"cost_low": 1.0, "cost_high": 1.0}
        flags = {"recommended": False, "reason": "" if target in chosen else NO_RULE}
        rows.append({**shared, "top_k": 0, "condition": "before", **before, **flags})
        for place, k in enumerate(top_ks):
            rise = reach / (1 + (150 / k) ** 1.4) * (1 if k < 2000 else 0.93)
            cost = 1 + 0.12 * (k / 300) ** 1.1
            here = figures(rise, cost, 0.01 + 0.04 * rise, unsteered, perplexity)
            is_chosen = chosen.get(target) == k
            flags = {
                "on_front": k < 2000,
                "recommended": is_chosen,
                "reason": RULE
                if is_chosen
                else "on the front, but k = 300 has a higher probability",
            }
            rows.append({**shared, "top_k": k, "condition": "experts", **here, **flags})
            if controlled:
                there = figures(0.002 * place, 1 + 0.4 * (cost - 1), 0.012, unsteered, perplexity)
                flags = {"on_front": False, "recommended": False, "reason": "a control"}
                rows.append({**shared, "top_k": k, "condition": "control", **there, **flags})
    return pd.DataFrame(rows)


def methods_frame(
    *,
    targets: Sequence[str] = TARGETS,
    methods: Sequence[str] = tuple(_METHOD_STRENGTHS),
    axes: Sequence[str] = _AXES,
    controlled: bool = True,
) -> pd.DataFrame:
    """`Results.methods`: each method beside the same operation on random units.

    Args:
        targets: FLORES-200 codes.
        methods: words of `steer_plugin.methods.catalogue.METHODS`.
        axes: without those of generation where a run has none.
        controlled: whether random units were steered as well.
    """
    # axis: before, change at full strength, share that the control gives, half width
    levels = {
        "retrieval": (0.047, 0.36, 0.07, 0.018),
        "centred distance": (0.71, -0.12, 0.1, 0.014),
        "language probability": (0.03, 0.7, 0.04, 0.05),
        "perplexity": (24.0, 0.34, 0.4, 0.03),
    }
    rows = []
    for method in methods:
        for number, target in enumerate(targets):
            strength = _METHOD_STRENGTHS.get(method, 0.4) * _REACH.get(target, 0.3) / 0.8
            vector = method.startswith("steer-")
            for axis in axes:
                pre, whole, part, half = levels[axis]
                change, controls = whole * strength, whole * strength * part
                row: dict[str, Any] = {
                    "method": method,
                    "target": target,
                    "top_k": 0 if vector else 300,
                    "block": 9 if vector else -1,
                    "axis": axis,
                    "n_controls": 3 if controlled else 0,
                    "sentences": 32 if axis in _AXES[2:] else 150,
                }
                if axis == "perplexity":
                    pre += 5 * number
                    cost, control_cost = 1 + abs(change), 1 + abs(controls)
                    row |= {"pre": pre, "post": pre * cost, "control": pre * control_cost}
                    row |= _ends("change", cost, half) | _ends("control_change", control_cost, half)
                else:
                    row |= {"pre": pre, "post": pre + change, "control": pre + controls}
                    row |= _ends("change", change, half) | _ends("control_change", controls, half)
                # No difference between method and control is made of what is written.
                ahead = float("nan") if axis in _AXES[2:] else change - controls
                row |= {"control_min": row["control"], "control_max": row["control"]}
                rows.append({**row, **_ends("advantage", ahead, half)})
    table = pd.DataFrame(rows)
    if not controlled:
        of_control = [name for name in table if name.startswith(("control", "advantage"))]
        table[of_control] = float("nan")
    return table


def controls_frame(
    *,
    targets: Sequence[str] = TARGETS,
    controls: Sequence[str] = tuple(_CONTROL_SHARES),
    layers: Sequence[str] = ("8", "final"),
) -> pd.DataFrame:
    """`Results.controls`: each control beside the experts.

    Args:
        targets: FLORES-200 codes.
        controls: words of the run file.
        layers: where embeddings are read.
    """
    # measure, centring: before, change of the experts, half width
    levels = {
        ("pair distance", "raw"): (0.768, -0.66, 0.012),
        ("pair distance", "language"): (1.0, -0.01, 0.012),
        ("gap", "raw"): (0.026, -0.012, 0.004),
        ("top-1", "raw"): (0.047, 0.2, 0.018),
    }
    rows = []
    for layer in layers:
        for number, target in enumerate(targets):
            for (measure, centring), (pre, whole, half) in levels.items():
                reach = 1 - 0.04 * number if measure != "top-1" else _REACH.get(target, 0.3)
                change = whole * reach
                for control in controls:
                    share = _CONTROL_SHARES[control] - 0.02 * number
                    if measure == "top-1":
                        share = 0.1 * share
                    gives = change * share
                    if control == "centring":
                        gives = {"top-1": 0.55, "gap": 0.26}.get(measure, gives)
                    known = abs(change) > half
                    of_change = gives / change if known else float("nan")
                    rows.append(
                        {
                            "target": target,
                            "top_k": 300,
                            "layer": layer,
                            "measure": measure,
                            "centring": centring,
                            "query": "all",
                            "candidates": "all",
                            "control": control,
                            "n_seeds": 1 if control in ("constant-shift", "centring") else 3,
                            "sentences": 150,
                            "pre": pre,
                            "post": pre + change,
                            "control_value": pre + gives,
                            "control_min": pre + gives - half / 3,
                            "control_max": pre + gives + half / 3,
                            **_ends("change", change, half),
                            **_ends("control_change", gives, half),
                            **_ends("advantage", change - gives, half),
                            "advantage_p": 0.002,
                            **_ends("share", of_change, half / abs(change)),
                        }
                    )
    return pd.DataFrame(rows)
