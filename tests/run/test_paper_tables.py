from typing import Any

import numpy as np
import pandas as pd
import pytest

from steer_plugin.analyses.measures.alignment import alignment_figures
from steer_plugin.analyses.measures.mixed_retrieval import bitext_figures, mixed_figures
from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.run.paper_tables import DISTANCES, distance_table, mixed_table
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.figures import Figures

Array = np.ndarray[Any, Any]
Space = dict[str, Array]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn", "jpn_Jpan")
TARGETS = ("deu_Latn", "fra_Latn", "jpn_Jpan")


def space(seed: int, n: int = 10, d: int = 5) -> Space:
    generator = np.random.default_rng(seed)
    meaning = np.random.default_rng(99).normal(size=(n, d))
    return {
        language: meaning + 0.6 * generator.normal(size=(n, d)) + generator.normal(size=d)
        for language in LANGUAGES
    }


def conditions(target: str) -> list[Space]:
    """Give embeddings before, after and with a control, the first the same for each target."""
    place = LANGUAGES.index(target)
    return [space(0), space(10 + place), space(20 + place)]


def run(targets: tuple[str, ...] = TARGETS) -> pd.DataFrame:
    frames = []
    for target in targets:
        for layer in ("3", "final"):
            pre, post, control = (
                alignment_figures(one, target=target) for one in conditions(target)
            )
            frame = compare(pre, post, [control])
            frames.append(frame.assign(target=target, top_k=10, layer=layer))
    return pd.concat(frames, ignore_index=True)


def pick(frame: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = frame[np.logical_and.reduce([frame[name] == key for name, key in keys.items()])]
    assert len(chosen) == 1, keys
    return chosen.iloc[0]


def unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def by_hand(embeddings: Space, target: str, distance: str, version: str) -> float:
    """Measure a distance of Table 1 from the embeddings, one pair at a time."""
    units = {language: unit(rows) for language, rows in embeddings.items()}
    means = {language: unit(rows.mean(0)) for language, rows in units.items()}
    others = [language for language in LANGUAGES if language != target]
    if distance.endswith("medoid"):
        points = [point for rows in units.values() for point in rows]
        middle = min(points, key=lambda point: sum(1 - float(point @ other) for other in points))
        chosen = [target] if distance == "target to medoid" else others
        return float(np.mean([1 - means[language] @ middle for language in chosen]))
    pairs = [(a, b) for a in LANGUAGES for b in LANGUAGES if a < b]
    if distance == "target to others":
        pairs = [pair for pair in pairs if target in pair]
    if version == "centroids":
        return float(np.mean([1 - means[a] @ means[b] for a, b in pairs]))
    return float(np.mean([1 - x @ y for a, b in pairs for x in units[a] for y in units[b]]))


ROWS = [
    ("all pairs", "sentence pairs"),
    ("all pairs", "centroids"),
    ("target to medoid", "centroids"),
    ("non-targets to medoid", "centroids"),
    ("target to others", "sentence pairs"),
    ("target to others", "centroids"),
]


@pytest.mark.parametrize(("distance", "version"), ROWS)
def test_each_distance_is_the_mean_over_targets_and_its_standard_error(
    distance: str, version: str
) -> None:
    row = pick(
        distance_table(run()), distance=distance, version=version, centring="raw", layer="final"
    )
    assert row["targets"] == 3
    for place, name in enumerate(("pre", "post", "control")):
        values = [
            by_hand(conditions(target)[place], target, distance, version) for target in TARGETS
        ]
        mean = sum(values) / 3
        error = np.sqrt(sum((value - mean) ** 2 for value in values) / 2) / np.sqrt(3)
        assert row[name] == pytest.approx(mean, abs=1e-12)
        assert row[f"{name}_sem"] == pytest.approx(error, abs=1e-12)
        assert error > 1e-4 or (name, distance) == ("pre", "all pairs")


def test_the_table_has_both_versions_and_centrings_in_the_papers_order() -> None:
    table = distance_table(run())
    assert list(table.columns) == [
        *("distance", "version", "centring", "top_k", "layer"),
        *("pre", "pre_sem", "post", "post_sem", "control", "control_sem", "targets"),
    ]
    keys = ["distance", "version", "centring", "top_k", "layer"]
    assert not table.duplicated(keys).any()
    assert len(table) == len(ROWS) * 2 * 2
    assert set(table["centring"]) == {"raw", "global"}
    assert list(dict.fromkeys(table["distance"])) == list(DISTANCES)
    assert set(zip(table["distance"], table["version"], strict=True)) == set(ROWS)


def test_each_k_has_rows_of_its_own() -> None:
    frame = run()
    other = frame.assign(top_k=20, post=frame["post"] + 1)
    table = distance_table(pd.concat([frame, other], ignore_index=True))
    one, two = (table[table["top_k"] == k].reset_index(drop=True) for k in (10, 20))
    np.testing.assert_allclose(two["post"], one["post"] + 1)
    assert (table["targets"] == 3).all()


def test_of_one_target_there_is_no_standard_error() -> None:
    table = distance_table(run(("fra_Latn",)))
    assert (table["targets"] == 1).all()
    assert table[["pre_sem", "post_sem", "control_sem"]].isna().all(axis=None)
    assert table[["pre", "post", "control"]].notna().all(axis=None)


def test_before_steering_all_pairs_are_the_same_for_every_target() -> None:
    table = distance_table(run())
    everything = table[table["distance"] == "all pairs"]
    np.testing.assert_allclose(everything["pre_sem"], 0, atol=1e-15)


def test_the_mixed_table_puts_pre_post_and_mixed_of_each_language_side_by_side() -> None:
    frames = []
    for place, language in enumerate(("spa_Latn", "fra_Latn")):
        generator = np.random.default_rng(place)
        ranks = 1 / generator.integers(1, 4, size=(5, 40))

        def figures(same: Array, mix: Array, language: str = language) -> Figures:
            return bitext_figures(same, query=language, candidates=language, mixed=mix)

        pre, post, mix, control, control_mix = ranks
        frame = compare(figures(pre, pre), figures(post, mix), [figures(control, control_mix)])
        frames.append((frame.assign(target=language, top_k=10, layer="final"), ranks))
    whole = pd.concat([frame for frame, _ in frames], ignore_index=True)
    other = whole.assign(dataset="other", post=whole["post"] / 2)
    several = mixed_table(pd.concat([whole.assign(dataset="one"), other], ignore_index=True))
    assert list(several["dataset"]) == ["one", "one", "other", "other"]
    np.testing.assert_allclose(several.loc[2:, "mixed"], several.loc[:1, "mixed"] / 2)
    for measure in ("top-1", "MRR"):
        table = mixed_table(whole, measure)
        assert list(table["query"]) == ["spa_Latn", "fra_Latn"]
        for (_, row), (frame, ranks) in zip(table.iterrows(), frames, strict=True):
            scored = ranks == 1 if measure == "top-1" else ranks
            names = ["pre", "post", "mixed", "control", "mixed_control"]
            np.testing.assert_allclose(row[names].astype(float), scored.mean(1), atol=1e-12)
            assert (row["measure"], row["sentences"]) == (measure, 40)
            assert row["mixed_change"] == pytest.approx(row["mixed"] - row["pre"])
            for prefix, kind in (("", measure), ("mixed_", f"mixed {measure}")):
                source = pick(frame, measure=kind)
                for name in ("change", "change_low", "change_high", "change_p"):
                    assert row[prefix + name] == source[name]


def test_the_mixed_table_takes_pairs_of_languages_alike_and_only_where_both_are() -> None:
    before, after, control = conditions("deu_Latn")
    plain = compare(
        retrieval_figures(before, target="deu_Latn"),
        retrieval_figures(after, target="deu_Latn"),
        [retrieval_figures(control, target="deu_Latn")],
    )
    mix = compare(
        mixed_figures(before, before, target="deu_Latn", centrings=("raw",)),
        mixed_figures(before, after, target="deu_Latn", centrings=("raw",)),
        [mixed_figures(before, control, target="deu_Latn", centrings=("raw",))],
    )
    setting = {"target": "deu_Latn", "top_k": 10, "layer": "final"}
    both = pd.concat([plain, mix], ignore_index=True).assign(**setting)
    table = mixed_table(both)
    assert len(table) == 12 + 2
    assert set(table["centring"]) == {"raw"}
    keys = {"query": "eng_Latn", "candidates": "fra_Latn", "centring": "raw"}
    row = pick(table, **keys)
    assert row["post"] == pick(both, measure="top-1", **keys)["post"]
    assert row["mixed"] == pick(both, measure="mixed top-1", **keys)["post"]
    assert row["pre"] == pytest.approx(pick(both, measure="mixed top-1", **keys)["pre"])
    assert mixed_table(plain.assign(**setting)).empty
