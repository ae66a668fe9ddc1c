"""Tables with figures such as Gemma 3 270M gives, for the tests of charts and reports."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.statistics.comparison import FEWEST_DRAWS

LANGUAGES = ("eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn", "jpn_Jpan", "rus_Cyrl", "zho_Hans")
TARGETS = ("deu_Latn", "spa_Latn", "jpn_Jpan")
TOP_KS = (50, 300, 1500)
N_BLOCKS = 18
N_UNITS = 2048
SENTENCES = 150

GAIN = {"deu_Latn": 0.36, "spa_Latn": 0.14, "jpn_Jpan": 0.02}
CONTROL_GAIN = {"deu_Latn": 0.02, "spa_Latn": 0.09, "jpn_Jpan": 0.025}
PROVENANCE = {
    "model": "gemma-3-270m (GGUF Q4_K_M)",
    "revision": "sha256:a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "host": "TransformerBridge",
    "dtype": "float32",
    "site": "mlp.hook_post",
    "pooling": "max",
    "score": "auroc",
    "operation": "set",
    "value": "mean",
    "embedding": "mean over tokens",
    "bos": "added, masked out",
    "corpus": "everyday, sha256:0123456789abcdef",
    "find_sentences": "200",
    "judge_sentences": str(SENTENCES),
    "split_seed": "0",
    "control_seeds": "0, 1, 2",
    "projection": "plane of the first two principal components before steering",
    "versions": "steer-plugin 0.1.0, torch 2.13.0, transformers 5.23, transformer-lens 4.3.0",
}


def row(
    target: str,
    top_k: int,
    layer: str,
    measure: str,
    centring: str,
    query: str,
    candidates: str,
    pre: float,
    post: float,
    controls: Sequence[float],
    half_width: float,
) -> dict[str, Any]:
    """One figure, with intervals of the given half width."""
    control = float(np.mean(controls)) if controls else float("nan")
    figure = {
        "target": target,
        "top_k": top_k,
        "layer": layer,
        "measure": measure,
        "centring": centring,
        "query": query,
        "candidates": candidates,
        "pre": pre,
        "post": post,
        "control": control,
        "control_min": min(controls, default=float("nan")),
        "control_max": max(controls, default=float("nan")),
        "n_controls": len(controls),
    }
    differences = {
        "change": post - pre,
        "control_change": control - pre,
        "advantage": post - control,
    }
    for name, value in differences.items():
        figure[name] = value
        figure[f"{name}_low"] = value - half_width
        figure[f"{name}_high"] = value + half_width
    if len(controls) < FEWEST_DRAWS:
        figure["advantage_low"] = figure["advantage_high"] = float("nan")
    as_far = sum(abs(draw - pre) >= abs(post - pre) for draw in controls)
    figure["control_p"] = (1 + as_far) / (1 + len(controls))
    return figure


def _late(layer: str) -> float:
    """How late a layer is, from 0 for the first block to 1 for the final norm."""
    return 1.0 if layer == "final" else int(layer) / N_BLOCKS


def _strength(top_k: int) -> float:
    return {50: 0.45, 300: 1.0, 1500: 0.85}.get(top_k, 0.8)


def _seeds(rng: np.random.Generator, value: float, n: int, spread: float = 0.008) -> list[float]:
    return [float(np.clip(value + d, 0, 2)) for d in rng.normal(0, spread, n)]


def _retrieval_levels(
    target: str,
    top_k: int,
    layer: str,
    gain: Mapping[str, float],
    control_gain: Mapping[str, float],
) -> tuple[float, float, float]:
    late = _late(layer)
    pre = 0.047 if layer == "final" else 0.12 + 0.55 * np.exp(-(((late - 0.66) / 0.28) ** 2))
    s = _strength(top_k)
    if layer == "final":
        return pre, pre + s * gain.get(target, 0.1), pre + s * control_gain.get(target, 0.05)
    damage = 0.08 * (0.4 + top_k / 600) * np.exp(-(((late - 0.66) / 0.3) ** 2))
    return pre, max(pre - damage, 0.01), max(pre - 2.2 * damage, 0.01)


def _retrieval(
    rng: np.random.Generator,
    languages: Sequence[str],
    targets: Sequence[str],
    top_ks: Sequence[int],
    layers: Sequence[str],
    gain: Mapping[str, float],
    control_gain: Mapping[str, float],
    n_controls: int,
) -> pd.DataFrame:
    rows = []
    for target in targets:
        for k in top_ks:
            for layer in layers:
                pre, post, control = _retrieval_levels(target, k, layer, gain, control_gain)
                for centring, lift in (("raw", 0.0), ("global", 0.05), ("language", 0.38)):
                    for measure, factor in (("top-1", 1.0), ("MRR", 1.25)):
                        levels = [
                            float(np.clip((v + lift * (1 - v)) * factor, 0.003, 0.99))
                            for v in (pre, post, control)
                        ]
                        keys = (target, k, layer, measure, centring)
                        controls = _seeds(rng, levels[2], n_controls)
                        rows.append(row(*keys, "all", "all", *levels[:2], controls, 0.018))
                        above = [min(v * 1.15, 0.99) for v in levels]
                        controls = _seeds(rng, above[2], n_controls)
                        rows.append(row(*keys, target, "others", *above[:2], controls, 0.03))
                        if measure == "MRR" or centring == "global":
                            continue
                        for query, candidates in permutations(languages, 2):
                            near = 1.4 if {query, candidates} & {target} else 0.9
                            moved = levels[0] + (levels[1] - levels[0]) * near
                            noise = rng.normal(0, 0.03, 2)
                            noisy = np.clip(np.array([levels[0], moved]) + noise, 0, 1).tolist()
                            controls = _seeds(rng, levels[2], n_controls, 0.03)
                            rows.append(row(*keys, query, candidates, *noisy, controls, 0.06))
    return pd.DataFrame(rows)


def _alignment(
    rng: np.random.Generator,
    languages: Sequence[str],
    targets: Sequence[str],
    top_ks: Sequence[int],
    layers: Sequence[str],
    n_controls: int,
) -> pd.DataFrame:
    # (measure, centring): before, with 300 experts, with 300 random neurons
    levels = {
        ("pair distance", "raw"): (0.768, 0.070, 0.185),
        ("pair distance", "global"): (0.985, 0.962, 0.981),
        ("pair distance", "language"): (1.002, 1.001, 1.001),
        ("matched distance", "raw"): (0.742, 0.061, 0.178),
        ("matched distance", "global"): (0.93, 0.71, 0.90),
        ("matched distance", "language"): (0.71, 0.60, 0.69),
        ("medoid distance", "raw"): (0.61, 0.04, 0.12),
        ("medoid distance", "global"): (0.95, 0.90, 0.94),
        ("gap", "raw"): (0.026, 0.009, 0.007),
        ("gap", "global"): (0.055, 0.252, 0.081),
        ("gap", "language"): (0.292, 0.401, 0.311),
    }
    rows = []
    for target in targets:
        for k in top_ks:
            for layer in layers:
                for (measure, centring), (pre, post, control) in levels.items():
                    late = _late(layer) ** 2 * _strength(k)
                    post_here = pre + (post - pre) * late
                    control_here = pre + (control - pre) * late
                    keys = (target, k, layer, measure, centring)
                    half = 0.004 if measure == "gap" else 0.012
                    controls = _seeds(rng, control_here, n_controls, half / 2)
                    if measure == "medoid distance":
                        rows.append(row(*keys, "all", "medoid", pre, post_here, controls, half))
                        continue
                    rows.append(row(*keys, "all", "all", pre, post_here, controls, half))
                    rows.append(row(*keys, target, "others", pre, post_here, controls, half))
                    if centring == "raw":
                        rows.extend(
                            row(*keys, query, candidates, pre, post_here, controls, half)
                            for query, candidates in permutations(languages, 2)
                        )
    return pd.DataFrame(rows)


def _layers(languages: Sequence[str], top_ks: Sequence[int]) -> pd.DataFrame:
    rows = []
    depth = np.arange(N_BLOCKS) / (N_BLOCKS - 1)
    for number, concept in enumerate(languages):
        for k in top_ks:
            weight = np.exp(-depth / 0.12) + (0.5 + 0.1 * number) * np.exp(-(1 - depth) / 0.15)
            experts = np.floor(k * weight / weight.sum()).astype(int)
            experts[0] += k - experts.sum()
            rows.extend(
                {"concept": concept, "layer": layer, "top_k": k, "experts": n, "share": n / k}
                for layer, n in enumerate(experts.tolist())
            )
    return pd.DataFrame(rows)


def _curve(rng: np.random.Generator, languages: Sequence[str]) -> pd.DataFrame:
    ranks = np.unique(np.geomspace(1, N_BLOCKS * N_UNITS, 60).round().astype(int))
    rows = []
    for number, concept in enumerate(languages):
        find = 1 / (1 + (ranks / (40 + 60 * number)) ** 0.55) * 0.5 + 0.5
        find[ranks > 12_000] -= np.linspace(0, 0.45, int((ranks > 12_000).sum()))
        judge = np.clip(find - 0.012 + rng.normal(0, 0.006, len(ranks)), 0, 1)
        rows.extend(
            {
                "concept": concept,
                "rank": rank,
                "layer": int(rng.integers(N_BLOCKS)),
                "index": int(rng.integers(N_UNITS)),
                "find_score": a,
                "judge_score": b,
            }
            for rank, a, b in zip(ranks.tolist(), find.tolist(), judge.tolist(), strict=True)
        )
    return pd.DataFrame(rows)


def _overlap(
    rng: np.random.Generator, languages: Sequence[str], top_ks: Sequence[int]
) -> pd.DataFrame:
    rows = []
    for k in top_ks:
        shared = np.floor(k * rng.uniform(0.0, 0.06, (len(languages), len(languages)))).astype(int)
        shared = np.triu(shared, 1) + np.triu(shared, 1).T + k * np.eye(len(languages), dtype=int)
        rows.extend(
            {
                "concept": concept,
                "other": other,
                "top_k": k,
                "shared": int(shared[i, j]),
                "share": shared[i, j] / k,
            }
            for i, concept in enumerate(languages)
            for j, other in enumerate(languages)
        )
    return pd.DataFrame(rows)


def _projection(
    rng: np.random.Generator,
    languages: Sequence[str],
    targets: Sequence[str],
    top_ks: Sequence[int],
    sentences: int,
    n_controls: int,
) -> pd.DataFrame:
    conditions = {"before": 1.0, "experts": 0.2} | ({"control": 0.85} if n_controls else {})
    angles = np.linspace(0, 2 * np.pi, len(languages), endpoint=False)
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 3
    parts = []
    for target in targets:
        for k in top_ks:
            for condition, apart in conditions.items():
                for language, centre in zip(languages, centres, strict=True):
                    xy = centre * apart + rng.normal(0, 0.7, (sentences, 2))
                    parts.append(
                        pd.DataFrame(
                            {
                                "target": target,
                                "top_k": k,
                                "condition": condition,
                                "language": language,
                                "id": [f"s{i:04d}" for i in range(sentences)],
                                "x": xy[:, 0],
                                "y": xy[:, 1],
                            }
                        )
                    )
    return pd.concat(parts, ignore_index=True)


def once(make: Callable[..., Results]) -> Callable[..., Results]:
    """Make what is asked for in the same words once; nobody changes it in place."""
    made: dict[str, Results] = {}

    @functools.wraps(make)
    def get(**choices: object) -> Results:
        asked = repr(choices)
        if asked not in made:
            made[asked] = make(**choices)
        return made[asked]

    return get


@once
def results(
    *,
    languages: Sequence[str] = LANGUAGES,
    targets: Sequence[str] = TARGETS,
    top_ks: Sequence[int] = TOP_KS,
    layers: Sequence[str] = (*map(str, range(N_BLOCKS)), "final"),
    gain: Mapping[str, float] = GAIN,
    control_gain: Mapping[str, float] = CONTROL_GAIN,
    n_controls: int = 3,
    sentences: int = SENTENCES,
) -> Results:
    """All tables of a run, the same at every call with the same arguments.

    Args:
        languages: FLORES-200 codes.
        targets: those of them that are steered towards.
        top_ks: how many experts are set.
        layers: where embeddings are read.
        gain: what each target's 300 experts add to the last layer's top-1.
        control_gain: what 300 random neurons add to it.
        n_controls: seeds of the random control.
        sentences: a language in the projection.
    """
    rng = np.random.default_rng(0)
    return Results(
        provenance={**PROVENANCE, "languages": ", ".join(languages)},
        layers=_layers(languages, top_ks),
        curve=_curve(rng, languages),
        overlap=_overlap(rng, languages, top_ks),
        alignment=_alignment(rng, languages, targets, top_ks, layers, n_controls),
        retrieval=_retrieval(
            rng, languages, targets, top_ks, layers, gain, control_gain, n_controls
        ),
        projection=_projection(rng, languages, targets, top_ks, sentences, n_controls),
    )


def changed(base: Results, table: str, where: Mapping[str, Any], **values: float) -> Results:
    """The same results with other figures in the rows that match."""
    frame = base.tables()[table].copy()
    keep = np.logical_and.reduce([frame[name] == wanted for name, wanted in where.items()])
    if not keep.any():
        raise ValueError(f"no row of {table} has {where}")
    for name, value in values.items():
        frame.loc[keep, name] = value
    return dataclasses.replace(base, **{table: frame})
