#!/usr/bin/env python3
"""How well the intervals hold: writes the tables of docs/statistics.md.

`make calibration` draws samples from a population with groups and heavy tails, and counts how often
the 95% interval of each figure's change holds the true one.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from steer_plugin.analyses.measures.every_measure import all_figures
from steer_plugin.analyses.statistics.comparison import compare
from steer_plugin.analyses.statistics.false_discoveries import control_false_discoveries
from steer_plugin.analyses.statistics.figures import Figures, joined, weighted_means

from support.populations import DESIGNS, repeated, shown_spans

BEFORE = Path(__file__).with_name("coverage_before.csv")
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
SAMPLES = 500


def every_figure(embeddings: dict[str, Any], groups: Any) -> Figures:
    """Measure all that a report has."""
    tables = all_figures(embeddings, target="deu_Latn", groups=groups)
    return joined(list(tables.values()))


def coverage() -> pd.DataFrame:
    """Give coverage and ratio of each measure and centring: the worst over its figures."""
    columns = {}
    for name, (population, sentences) in DESIGNS.items():
        change, error, half = repeated(every_figure, population, sentences, SAMPLES)
        held = (np.abs(change - change.mean(0)) <= half).mean(0)
        ratio = error.mean(0) / change.std(0)
        index = every_figure(*population.sample(sentences, 0)[::2]).index
        columns |= shown_spans(name, index.assign(coverage=held, ratio=ratio))
    return beside_before(pd.DataFrame(columns))


def beside_before(now: pd.DataFrame) -> pd.DataFrame:
    """Put each cell beside what it was before, as `before → now`."""
    before = pd.read_csv(BEFORE, index_col=[0, 1])
    return (before.loc[now.index, now.columns] + " → " + now).reset_index()


def further_draws(trials: int = 4000) -> pd.DataFrame:
    """Give how often one more random draw is called different from some."""
    rows = []
    for draws in (3, 4, 8, 16):
        row: dict[str, Any] = {"draws": draws}
        for spread in (0.0, 0.007, 0.03):
            rng = np.random.default_rng(draws)
            sentence = 0.3 * rng.normal(size=(200, trials))

            def drawn(
                sentence: Any = sentence, rng: np.random.Generator = rng, spread: float = spread
            ) -> Figures:
                moved = sentence + spread * rng.normal(size=trials)
                return _means(moved + 0.1 * rng.normal(size=sentence.shape))

            frame = compare(_means(sentence), drawn(), [drawn() for _ in range(draws)])
            outside = (frame["advantage_low"] > 0) | (frame["advantage_high"] < 0)
            row[f"draws differ {spread / 0.00707:.0f} times as much as sentences make them"] = (
                f"{outside.mean():.3f}"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _means(numbers: Any) -> Figures:
    keys = [("a", "raw", str(place), "") for place in range(numbers.shape[1])]
    return weighted_means(keys, numbers)


def false_discoveries(trials: int = 400, languages: int = 8, sentences: int = 200) -> pd.DataFrame:
    """Give the share of chance among the pairs called changed, where pairs share sentences.

    Each language's sentences vary together in all of its pairs, as they do when one text is hard.
    A share of the pairs has truly changed.
    """
    rng = np.random.default_rng(0)
    names = [f"l{place}" for place in range(languages)]
    pairs = [(a, b) for a in names for b in names if a != b]
    rows = []
    for changed in (0.0, 0.1, 0.5):
        true = np.arange(len(pairs)) < round(changed * len(pairs))
        rates = []
        for _ in range(trials):
            common = rng.normal(size=(sentences, 1))
            by_language = rng.normal(size=(sentences, languages))
            columns = [
                by_language[:, names.index(a)] + by_language[:, names.index(b)] for a, b in pairs
            ]
            numbers = common + np.stack(columns, axis=1) + rng.normal(size=(sentences, len(pairs)))
            keys = [("top-1", "raw", *pair) for pair in pairs]
            before = weighted_means(keys, np.zeros_like(numbers))
            after = weighted_means(keys, numbers + 0.6 * true)
            table = compare(before, after, [before] * 3).assign(target="t", top_k=1, layer="final")
            called = (control_false_discoveries(table)["change_q"] < 0.05).to_numpy()
            rates.append((called & ~true).sum() / max(called.sum(), 1))
        rows.append(
            {"pairs that changed": f"{changed:.0%}", "chance among those called": np.mean(rates)}
        )
    return pd.DataFrame(rows).round(3)


def table(frame: pd.DataFrame) -> str:
    """Write a frame as Markdown."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> None:
    """Put the tables where the page has its marks."""
    page = PAGE.read_text(encoding="utf-8")
    for name, measured in (
        ("coverage", coverage),
        ("further-draws", further_draws),
        ("false-discoveries", false_discoveries),
    ):
        print(name, file=sys.stderr)
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}{table(measured())}\n{end}{after}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
