"""Which measures have a chart, each by one declaration, ours and those that are registered."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from steer_plugin.analyses.run.results import Results
from steer_plugin.settings.parts import MEASURES


@dataclass(frozen=True)
class Shown:
    """A measure as charts show it.

    Attributes:
        measure: its name in the tables.
        title: of its axis.
        centring: of the embeddings.
        better: "high" or "low"; "" where neither is.
        question: of its chart.
        name: of its chart and files.
    """

    measure: str
    title: str
    centring: str = "raw"
    better: str = ""
    question: str = ""
    name: str = ""

    @property
    def better_phrase(self) -> str:
        """Which way is better, as the end of a caption."""
        return {"high": " Right is better.", "low": " Left is better."}.get(self.better, "")


OURS = (
    Shown("top-1", "Top-1 retrieval", better="high"),
    Shown("top-1 CSLS", "Top-1 by CSLS", better="high"),
    Shown("top-1 margin", "Top-1 by ratio margin", better="high"),
    Shown("MEXA", "MEXA", better="high"),
    Shown("top-1", "Top-1, language means removed", "language", "high"),
    Shown("CKA", "Linear CKA, unbiased", better="high"),
    Shown("pair distance", "Raw distance", better="low"),
    Shown("gap", "Matched-mismatched gap", better="high"),
    Shown("gap", "Gap, language means removed", "language", "high"),
    Shown("hubness", "Hubness (skewness)", better="low"),
    Shown("silhouette", "Silhouette by language", better="low"),
    Shown("mean random cosine", "Mean random cosine", better="low"),
    Shown("effective rank", "Effective rank", better="high"),
)
"""The measures that are drawn layer by layer."""

_KNOWN = ("pair distance", "matched distance", "medoid distance", "centroid distance", "gap")


def own_measures(results: Results) -> Iterator[Shown]:
    """Give what a run measured beyond our own measures, with a title where one was registered."""
    rows = results.alignment
    further = rows.loc[~rows["measure"].isin(_KNOWN), ["measure", "centring"]].drop_duplicates()
    given: Counter[str] = Counter()
    for measure, centring in further.itertuples(index=False):
        part = MEASURES.get(measure) or MEASURES.get(re.sub(r"\s+", "-", measure))
        title = (part.title if part else "") or measure[:1].upper() + measure[1:]
        name = re.sub(r"\W+", "_", f"measure_{measure}").strip("_").lower()
        if centring != "raw":
            title, name = f"{title}, {centring} mean removed", f"{name}_{centring}"
        given[name] += 1
        name = name if given[name] == 1 else f"{name}_{given[name]}"
        better = part.better if part else ""
        yield Shown(measure, title, centring, better, f"{title}, before and after", name)
