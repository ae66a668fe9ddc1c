"""Tables of the paper's further analyses, with figures such as a small model gives."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from steer_plugin.analyses.measures.correlations import CORRELATED, DISTANCES
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries
from steer_plugin.analyses.statistics.figure_rows import over_pairs

from support import frames
from support.frames import LANGUAGES, TARGETS, once, row

SEVEN = ("deu_Latn", "eng_Latn", "fra_Latn", "spa_Latn", "jpn_Jpan", "rus_Cyrl", "zho_Hans")
_EIGHT = (
    "tha_Thai",
    "ces_Latn",
    "ell_Grek",
    "heb_Hebr",
    "hin_Deva",
    "ind_Latn",
    "ita_Latn",
    "kor_Hang",
)
_MORE = ("nld_Latn", "pes_Arab", "pol_Latn", "por_Latn", "ron_Latn", "tur_Latn", "ukr_Cyrl")
TWENTY_TWO = (*SEVEN, *_EIGHT, *_MORE)
SEEN = ("eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn", "zho_Hans")
GEOMETRY = {
    "MEXA": (0.4, -0.05),
    "CKA": (0.35, 0.1),
    "hubness": (4.0, -1.0),
    "antihubs": (0.5, -0.1),
    "silhouette": (0.3, -0.2),
    "mean random cosine": (0.4, 0.5),
    "effective rank": (220.0, -60.0),
}


def _ends(name: str, value: float, half_width: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half_width, f"{name}_high": value + half_width}


def with_p_and_q(table: pd.DataFrame) -> pd.DataFrame:
    """Add the p that each interval would have if it were normal, and the q over pairs."""
    columns = {}
    for name in ("change", "advantage"):
        half = (table[f"{name}_high"] - table[f"{name}_low"]) / 2
        columns[f"{name}_p"] = 2 * norm.sf(np.abs(table[name]) / (half / 1.96))
    return control_false_discoveries(table.assign(sentences=150, **columns))


@once
def paper_results(
    *,
    languages: Sequence[str] = LANGUAGES,
    targets: Sequence[str] = TARGETS,
    top_ks: Sequence[int] = (50, 300, 1500),
    layers: Sequence[str] = ("0", "6", "12", "17", "final"),
    n_controls: int = 3,
    seen: Sequence[str] | None = SEEN,
    methods: Sequence[str] = ("pca", "umap"),
    sentences: int = 30,
) -> Results:
    """All tables that the paper's analyses give, the same at every call with the same arguments."""
    base = frames.results(
        languages=languages,
        targets=targets,
        top_ks=top_ks,
        layers=layers,
        n_controls=n_controls,
        sentences=sentences,
    )
    more = [
        over_pairs(base.retrieval, "top-1", centring).assign(measure=measure)
        for measure in ("top-1 CSLS", "top-1 margin")
        for centring in ("raw", "language")
    ]
    retrieval = pd.concat([base.retrieval, *more], ignore_index=True)
    pattern = over_pairs(base.retrieval, "top-1")
    projection = [base.projection.assign(method=method) for method in methods]
    return dataclasses.replace(
        base,
        provenance={**base.provenance, "seen": ", ".join(seen or ())},
        alignment=base.alignment.assign(sentences=150),
        retrieval=with_p_and_q(retrieval),
        geometry=_geometry(pattern),
        projection=pd.concat(projection, ignore_index=True),
        correlations=correlations_frame(
            languages=languages, targets=targets, top_ks=top_ks, layers=layers, seen=seen
        ),
        mixed=mixed_frame(base.retrieval, targets=targets, n_controls=n_controls),
        bitexts=bitexts_frame(targets=targets, n_controls=n_controls),
        null=null_frame(languages),
        stability=stability_frame(languages, top_ks),
    )


def _geometry(pattern: pd.DataFrame) -> pd.DataFrame:
    """Bend top-1 over the layers into each measure."""
    parts = []
    for measure, (level, moved) in GEOMETRY.items():
        part = pattern.assign(measure=measure)
        values = ["pre", "post", "control", "control_min", "control_max"]
        part[values] = level + moved * (1 - part[values])
        for name in ("change", "control_change", "advantage"):
            half = (part[f"{name}_high"] - part[f"{name}_low"]) / 2 * abs(moved)
            one, other = {"change": ("post", "pre"), "control_change": ("control", "pre")}.get(
                name, ("post", "control")
            )
            part[name] = part[one] - part[other]
            part[f"{name}_low"], part[f"{name}_high"] = part[name] - half, part[name] + half
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def correlations_frame(
    *,
    languages: Sequence[str] = LANGUAGES,
    targets: Sequence[str] = TARGETS,
    top_ks: Sequence[int] = (300,),
    layers: Sequence[str] = ("final",),
    seen: Sequence[str] | None = SEEN,
) -> pd.DataFrame:
    """`Results.correlations`: r of each target and of all, with an interval as n allows."""
    r_of = dict(zip(CORRELATED, (-0.72, -0.35, 0.81, 0.28), strict=True))
    which = {"all": list(languages)}
    if seen is not None:
        which["seen"] = [code for code in languages if code in seen]
    rows: list[dict[str, Any]] = []
    for k in top_ks:
        for layer in layers:
            for place, target in enumerate((*targets, "all")):
                for kind, chosen in which.items():
                    n = sum(code != target for code in chosen)
                    for number, distance in enumerate(DISTANCES):
                        for name, level in r_of.items():
                            r = float(np.clip(level + 0.06 * place - 0.05 * number, -0.98, 0.98))
                            half = 2.4 / np.sqrt(max(n - 2, 1)) * (1 - r**2) + 0.05
                            known = n >= 3
                            rows.append(
                                {
                                    "target": target,
                                    "top_k": k,
                                    "layer": layer,
                                    "centring": "raw",
                                    "distance": distance,
                                    "languages": kind,
                                    "correlation": name,
                                    "r": r if known else np.nan,
                                    "r_low": max(r - half, -1.0) if known else np.nan,
                                    "r_high": min(r + half, 1.0) if known else np.nan,
                                    "n": n,
                                    "points": n * (len(targets) if target == "all" else 1),
                                }
                            )
    return pd.DataFrame(rows)


def mixed_frame(
    retrieval: pd.DataFrame,
    *,
    targets: Sequence[str] = TARGETS,
    datasets: Sequence[str] = ("paraphrases", "pawsx"),
    n_controls: int = 3,
) -> pd.DataFrame:
    """`Results.mixed`: within each target's language, and the mix across languages.

    Args:
        retrieval: of the same run, whose figures across languages are taken lower for the mix.
        targets: FLORES-200 codes.
        datasets: of paraphrases; none for the mix across languages alone.
        n_controls: seeds of the random control.
    """
    rows = []
    for dataset in datasets:
        for place, target in enumerate(targets):
            for measure, post, control in (
                ("top-1", 0.94, 0.95),
                ("mixed top-1", 0.31, 0.62),
                ("MRR", 0.96, 0.97),
                ("mixed MRR", 0.4, 0.7),
            ):
                key = (target, 300, "final", measure, "raw", target, target)
                pre = 0.96 if "top-1" in measure else 0.97
                moved = post - 0.04 * place
                one = row(*key, pre, moved, [control] * n_controls, 0.03)
                rows.append({**one, "dataset": dataset, "sentences": 64})
    across = retrieval[(retrieval["layer"] == "final") & (retrieval["centring"] != "global")]
    across = across[across["measure"].isin(["top-1", "MRR"])].assign(dataset="corpus")
    across["measure"] = "mixed " + across["measure"]
    across["post"] = 0.4 * across["pre"]
    across["change"] = across["post"] - across["pre"]
    across["change_low"], across["change_high"] = across["change"] - 0.01, across["change"] + 0.01
    whole = pd.concat([pd.DataFrame(rows), across], ignore_index=True)
    return whole.assign(sentences=whole.get("sentences", pd.Series(150.0)).fillna(150))


def bitexts_frame(
    *,
    targets: Sequence[str] = TARGETS,
    datasets: Sequence[tuple[str, int]] = (("tatoeba", 1000), ("bucc18", 9000)),
    n_controls: int = 3,
) -> pd.DataFrame:
    """`Results.bitexts`: each target with English, both ways."""
    rows = []
    for shift, (dataset, sentences) in enumerate(datasets):
        for place, target in enumerate(code for code in targets if code != "eng_Latn"):
            for number, pair in enumerate(((target, "eng_Latn"), ("eng_Latn", target))):
                pre = 0.05 + 0.03 * number + 0.02 * shift
                post = max(pre + 0.3 - 0.15 * place, 0.01)
                control = [pre + 0.02 + 0.005 * seed for seed in range(n_controls)]
                for measure, up in (("top-1", 0.0), ("MRR", 0.05)):
                    key = (target, 300, "final", measure, "raw", *pair)
                    one = row(*key, pre + up, post + up, control, 0.02)
                    rows.append({**one, "dataset": dataset, "sentences": sentences})
    return pd.DataFrame(rows)


def null_frame(languages: Sequence[str] = LANGUAGES) -> pd.DataFrame:
    """`Results.null`: the best unit of each language, the last one's no better than chance."""
    best = np.linspace(0.995, 0.86, len(languages))
    best[-1] = 0.64
    above = np.geomspace(4_000, 20, len(languages)).astype(int)
    above[-1] = 0
    return pd.DataFrame(
        {
            "concept": list(languages),
            "best": best,
            "null_high": np.linspace(0.648, 0.652, len(languages)),
            "p": np.where(best > 0.65, 1 / 101, 0.2),
            "above": above,
            "permutations": 100,
            "score": "auroc",
        }
    )


def stability_frame(
    languages: Sequence[str] = LANGUAGES, top_ks: Sequence[int] = (50, 300, 1500)
) -> pd.DataFrame:
    """`Results.stability`: Jaccard of the choice in each resample with that in all sentences."""
    rows = []
    for place, concept in enumerate(languages):
        for k in top_ks:
            jaccard = 0.78 - 0.02 * place - 0.08 * np.log10(k / 50)
            figures = _ends("jaccard", float(jaccard), 0.06 + 0.4 / np.sqrt(k))
            rows.append({"concept": concept, "top_k": k, **figures, "resamples": 20})
    return pd.DataFrame(rows)
