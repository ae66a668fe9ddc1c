from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steer_plugin.analyses.measures.retrieval import retrieval_figures
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.false_discoveries import FAMILY, control_false_discoveries
from steer_plugin.errors import AnalysisError

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn", "jpn_Jpan")
PAIRS = list(permutations(LANGUAGES, 2))


def figures(p: list[float], **keys: Any) -> pd.DataFrame:
    """Make a family of single pairs with these p of their change, of their advantage reversed."""
    setting = {"target": "deu_Latn", "top_k": 10, "layer": "final", "measure": "top-1"} | keys
    return pd.DataFrame(
        [
            {"centring": "raw", **setting, "query": a, "candidates": b, "change_p": one}
            for (a, b), one in zip(PAIRS, p, strict=False)
        ]
    ).assign(advantage_p=p[::-1])


def naive(p: list[float]) -> list[float]:
    """Give the least rate at which the step-up procedure rejects each, by trying every cut."""
    ordered, m = sorted(p), len(p)
    found = []
    for one in p:
        rates = [ordered[k] * m / (k + 1) for k in range(m) if ordered[k] >= one]
        found.append(min(1.0, *rates))
    return found


P = st.one_of(st.sampled_from([0.002, 0.01, 0.05, 1.0]), st.floats(0, 1, allow_subnormal=False))


@settings(deadline=None, max_examples=30)
@given(st.lists(P, min_size=1, max_size=len(PAIRS)))
@example([1.0])
@example([0.002] * 12)
def test_q_is_the_least_rate_at_which_the_step_up_procedure_rejects(p: list[float]) -> None:
    found = control_false_discoveries(figures(p))
    np.testing.assert_allclose(found["change_q"], naive(p), rtol=1e-12)
    np.testing.assert_allclose(found["advantage_q"], naive(p[::-1]), rtol=1e-12)
    assert (found["change_q"] >= found["change_p"] * (1 - 1e-12)).all()


@pytest.mark.parametrize(
    "other",
    [
        {"target": "eng_Latn"},
        {"top_k": 20},
        {"layer": "3"},
        {"measure": "MRR"},
        {"centring": "language"},
    ],
)
def test_each_family_is_tested_by_itself_in_whatever_order_its_rows_stand(
    other: dict[str, Any],
) -> None:
    one, two = figures([0.002, 0.03, 0.04, 0.9]), figures([0.5, 0.01, 0.3], **other)
    mixed = pd.concat([one, two], ignore_index=True).sample(frac=1, random_state=1)
    found = control_false_discoveries(mixed).sort_index()
    wanted = naive([0.002, 0.03, 0.04, 0.9]) + naive([0.5, 0.01, 0.3])
    np.testing.assert_allclose(found["change_q"], wanted)


def test_a_family_may_be_told_apart_by_its_control_as_well() -> None:
    one = figures([0.002, 0.03]).assign(control="random")
    two = figures([0.04, 0.04]).assign(control="bottom")
    both = pd.concat([one, two], ignore_index=True)
    found = control_false_discoveries(both, family=(*FAMILY, "control"))
    np.testing.assert_allclose(found["change_q"], naive([0.002, 0.03]) + naive([0.04, 0.04]))


def test_a_mean_over_pairs_is_no_member_of_the_family_and_has_no_q() -> None:
    pairs = figures([0.002, 0.03, 0.04, 0.9])
    sums = pairs.iloc[[0, 0, 0, 0]].assign(
        query=["all", "deu_Latn", "jpn_Jpan", "others"],
        candidates=["all", "others", "medoid", "medoid"],
    )
    found = control_false_discoveries(pd.concat([sums, pairs], ignore_index=True))
    assert found.loc[:3, ["change_q", "advantage_q"]].isna().all(axis=None)
    assert (found.loc[:3, "change_p"] == 0.002).all()
    np.testing.assert_allclose(found.loc[4:, "change_q"], naive([0.002, 0.03, 0.04, 0.9]))


def test_a_figure_without_p_is_no_member_of_the_family() -> None:
    found = control_false_discoveries(figures([0.02, np.nan, 0.03]))
    np.testing.assert_allclose(found["change_q"], [0.03, np.nan, 0.03])


def test_a_table_without_rows_gets_its_columns() -> None:
    found = control_false_discoveries(figures([0.5]).iloc[:0])
    assert list(found.columns[-2:]) == ["change_q", "advantage_q"]
    assert found.empty


def test_the_table_that_is_given_stays_as_it_is() -> None:
    table = figures([0.02, 0.5, 0.03])
    kept = table.copy()
    control_false_discoveries(table)
    pd.testing.assert_frame_equal(table, kept)


def test_where_nothing_changed_every_p_and_every_q_of_a_pair_is_1() -> None:
    rows = {
        language: np.random.default_rng(seed).normal(size=(12, 5))
        for seed, language in enumerate(LANGUAGES)
    }
    same = retrieval_figures(rows, target="eng_Latn")
    setting = {"target": "eng_Latn", "top_k": 10, "layer": "final"}
    table = compare(same, same, [same] * 3).assign(**setting)
    found = control_false_discoveries(table)
    assert (found[["change_p", "advantage_p"]] == 1).all(axis=None)
    single = found["candidates"].isin(LANGUAGES)
    assert (found.loc[single, ["change_q", "advantage_q"]] == 1).all(axis=None)
    assert found.loc[~single, "change_q"].isna().all()


def test_of_the_pairs_called_changed_few_are_chance() -> None:
    """False discoveries stay below the rate; the p of each pair alone lets many more through."""
    generator = np.random.default_rng(0)
    p = generator.uniform(size=(400, len(PAIRS)))
    p[:, :3] = generator.uniform(0, 0.002, size=(len(p), 3))
    trials = pd.concat([figures([1.0] * len(PAIRS))] * len(p), ignore_index=True).assign(
        target=np.repeat(np.arange(len(p)), len(PAIRS)).astype(str), change_p=p.ravel()
    )
    found = control_false_discoveries(trials)

    def chance(name: str) -> float:
        called = found[name].to_numpy().reshape(p.shape) <= 0.1
        return float(np.mean(called[:, 3:].sum(1) / np.maximum(called.sum(1), 1)))

    assert chance("change_q") <= 0.1
    assert chance("change_p") > 0.15


def test_a_table_without_p_is_refused() -> None:
    with pytest.raises(AnalysisError, match="the table lacks change_p; it needs the columns targ"):
        control_false_discoveries(figures([0.5]).drop(columns="change_p"))
