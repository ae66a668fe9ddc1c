"""The tables that a report is made of, and how rows are picked from them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import pandas as pd

from steer_plugin.analyses.statistics.figure_rows import over_pairs
from steer_plugin.errors import AnalysisError
from steer_plugin.storage.artifacts import read_artifact, write_artifact

FINAL = "final"
"""The layer after the final norm; the others are the indices of blocks, as text."""

FOUND_ON = "found_on"
"""What provenance calls the model that experts were found on where the run file names them."""

KEYS = ("target", "top_k", "layer", "measure", "centring", "query", "candidates")
VALUES = (
    "pre",
    "post",
    "control",
    "control_min",
    "control_max",
    "n_controls",
    "change",
    "change_low",
    "change_high",
    "control_change",
    "control_change_low",
    "control_change_high",
    "advantage",
    "advantage_low",
    "advantage_high",
)


_COLUMNS = {
    "layers": ("concept", "layer", "top_k", "experts", "share"),
    "curve": ("concept", "rank", "layer", "index", "find_score", "judge_score"),
    "overlap": ("concept", "other", "top_k", "shared", "share"),
    "alignment": KEYS + VALUES,
    "retrieval": KEYS + VALUES,
    "projection": ("target", "top_k", "condition", "language", "id", "x", "y"),
    "geometry": KEYS + VALUES,
    "controls": (*KEYS, "control", "control_value", "change", "advantage", "share"),
    "correlations": ("target", "top_k", "layer", "languages", "correlation", "r", "n"),
    "mixed": ("dataset", *KEYS, *VALUES),
    "bitexts": ("dataset", *KEYS, *VALUES),
    "generation": ("target", "top_k", "condition", "probability", "perplexity", "cost"),
    "methods": ("method", "target", "top_k", "block", "axis", *VALUES),
    "null": ("concept", "score", "best", "null_high", "p", "above", "permutations"),
    "stability": ("concept", "top_k", "jaccard", "resamples"),
    "draws": (*KEYS, "draw", "value"),
}


_ALWAYS = ("layers", "curve", "overlap", "alignment", "retrieval", "projection")


@dataclass(frozen=True)
class Results:
    """What was measured in one run.

    Attributes:
        provenance: what every figure depends on, name to value, in the order it is shown: model,
            revision, host, dtype, site, pooling, score, corpus, split, seeds, versions. The text
            of the report reads "model", "site", "score", "operation", "judge_sentences" and
            "projection" where they are there.
        layers: experts of each concept in each layer (share: of the concept's top_k, 0..1).
        curve: score of the unit at each rank (1..n, log-spaced) on the split it was found on and
            on the other, and where they are there its mean responses; see `summaries.score_curve`.
        overlap: experts that two concepts share (share: of top_k, 0..1).
        alignment: one row a figure: "pair distance", "matched distance" and "medoid distance"
            (cosine distance, 0..2) and "gap" (difference of cosines), before steering (pre), with
            the experts (post) and with random units (control: mean over n_controls seeds). The
            intervals are 95% ones; see `comparison.compare`.
        retrieval: the same for "top-1" and "MRR" (0..1).
        projection: two coordinates of each sentence's embedding; condition is "before",
            "experts" or "control"; where they are there, method is "pca" or "umap", and text the
            sentence.
        geometry: MEXA, hubness, CKA, silhouette and isotropy, as alignment.
        controls: the headline's figures beside every control; see `comparison.compare_controls`.
        correlations: see `correlations.correlations`.
        mixed: retrieval within a language and across languages in which the queries are those of
            the unsteered model; see `mixed_retrieval`.
        bitexts: retrieval in independent sets.
        generation: see `tradeoff.tradeoff` and `pareto.recommend`.
        methods: rival interventions on the same axes; see `rivals.compare_rival`.
        null: see `chance.null_frame`.
        stability: see `chance.stability`.
        draws: every single draw of the matched control: alignment's and retrieval's means over
            pairs of languages; draw counts from 0.

    The tables from geometry on are empty where a run leaves them out.

    Raises:
        AnalysisError: a table lacks a column, alignment or retrieval is empty, or a target has no
            top-1 at the last layer.
    """

    provenance: dict[str, str]
    layers: pd.DataFrame
    curve: pd.DataFrame
    overlap: pd.DataFrame
    alignment: pd.DataFrame
    retrieval: pd.DataFrame
    projection: pd.DataFrame
    geometry: pd.DataFrame = field(default_factory=pd.DataFrame)
    controls: pd.DataFrame = field(default_factory=pd.DataFrame)
    correlations: pd.DataFrame = field(default_factory=pd.DataFrame)
    mixed: pd.DataFrame = field(default_factory=pd.DataFrame)
    bitexts: pd.DataFrame = field(default_factory=pd.DataFrame)
    generation: pd.DataFrame = field(default_factory=pd.DataFrame)
    methods: pd.DataFrame = field(default_factory=pd.DataFrame)
    null: pd.DataFrame = field(default_factory=pd.DataFrame)
    stability: pd.DataFrame = field(default_factory=pd.DataFrame)
    draws: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        """Check that the tables can be reported."""
        for name, table in self.tables().items():
            if name not in _ALWAYS and table.empty:
                object.__setattr__(self, name, pd.DataFrame(columns=list(_COLUMNS[name])))
                continue
            missing = [column for column in _COLUMNS[name] if column not in table.columns]
            if missing:
                raise AnalysisError(
                    f"the table {name!r} lacks {', '.join(missing)}; it needs the columns "
                    f"{', '.join(_COLUMNS[name])}"
                )
        for name in ("alignment", "retrieval"):
            if self.tables()[name].empty:
                raise AnalysisError(
                    f"the table {name!r} is empty, so there is nothing to report; measure first"
                )
        layer = layer_order(self.retrieval)[-1]
        headline_top_1 = at_headline(self, over_pairs(self.retrieval, "top-1", layer=layer))
        lacking = [target for target in self.targets if target not in set(headline_top_1["target"])]
        if lacking:
            raise AnalysisError(
                f"the table 'retrieval' has no raw top-1 over all pairs at layer {layer} for "
                f"{', '.join(lacking)}; measure every target at the same layers"
            )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Give the tables by name."""
        return {
            table.name: getattr(self, table.name)
            for table in fields(self)
            if table.name != "provenance"
        }

    def save(self, folder: str | Path) -> None:
        """Write `config.json`, the provenance, and one parquet file a table, whole or not at all.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        write_artifact(folder, "results", self.provenance, tables=self.tables())

    @classmethod
    def load(cls, folder: str | Path) -> "Results":
        """Read what `save` wrote.

        Raises:
            ArtifactError: the folder holds no results, or damaged ones.
            AnalysisError: the tables cannot be reported.
        """
        artifact = read_artifact(folder, "results")
        # Results that were saved before a table was thought of are without it.
        known = [name for name in _COLUMNS if (artifact.folder / f"{name}.parquet").is_file()]
        tables = {name: artifact.table(name) for name in (*_ALWAYS, *known)}
        return cls(provenance=artifact.config, **tables)

    @property
    def targets(self) -> list[str]:
        """The concepts that were steered towards, in their order."""
        return list(dict.fromkeys(self.retrieval["target"]))

    def headline(self) -> dict[str, int]:
        """Give the k that each target is reported at: the `middle` one of those that were run."""
        by_target = self.retrieval.groupby("target", sort=False)["top_k"]
        return {str(target): middle(int(k) for k in ks) for target, ks in by_target}


def middle(ks: Iterable[int]) -> int:
    """Give the middle of some numbers of experts, the lower of two.

    It is fixed before any outcome is known, so nothing is picked by its result.
    """
    distinct = sorted(set(ks))
    return distinct[(len(distinct) - 1) // 2]


def layer_order(table: pd.DataFrame) -> list[str]:
    """Give a table's layers from the first block to the final norm."""
    names = {str(name) for name in table["layer"].unique()}
    return sorted(names, key=lambda name: (name == FINAL, 0 if name == FINAL else int(name)))


def layer_phrase(layer: str) -> str:
    """Say where an embedding is read."""
    return "after the final norm" if layer == FINAL else f"after block {layer}"


def at_headline(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows at each target's headline k, in the order of the targets."""
    headline = results.headline()
    parts = [
        table[(table["target"] == target) & (table["top_k"] == k)] for target, k in headline.items()
    ]
    return pd.concat(parts, ignore_index=True)


BEFORE = "Before"


CONTROL = "Random units"


EXPERTS = "Experts"
