"""What a model writes from nothing, and how well it predicts a language, steered and not."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steer_plugin.errors import AnalysisError
from steer_plugin.interventions.plan import AnyPlan, acting_steps, for_texts
from steer_plugin.models.adapter import Adapter

Texts = Mapping[int, tuple[str, ...]]
"""Seed -> what was written with it."""

STRETCH = 16
"""Scored tokens whose losses are summed together: what is resampled where there is one document.

A token's loss, given the text before it, has little to do with its neighbours': on the bundled
English sentences the standard error of Gemma 3 270M's mean loss is between 0.036 and 0.039 nats
from stretches of any length between 2 and 64."""


def generate_texts(
    adapter: Adapter,
    plan: AnyPlan | None,
    *,
    sentences: int = 256,
    seeds: Sequence[int] = tuple(range(8)),
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    top_p: float = 0.9,
    progress: str | None = None,
) -> dict[int, tuple[str, ...]]:
    """Let a model write texts after its BOS token alone, some with each seed.

    The generation check of Sundar et al. 2025 (arXiv 2502.15639, PAPER step 9): 256 sentences for
    each of 8 seeds, at temperature 1, with top-p 0.9; how long they are it leaves open. What is
    written depends on the seed and the place among the seed's texts, not on which others there are.

    Args:
        adapter: the model; it needs a BOS token.
        plan: what is done to the model meanwhile; None for nothing.
        sentences: how many texts a seed.
        seeds: of the sampling, each once, from 0.
        max_new_tokens: at most so many tokens a text.
        temperature: of the sampling.
        top_p: sample from the likeliest tokens that together have this probability.
        progress: what to call the work in a bar on stderr; None shows none.

    Returns:
        The texts by seed, in the order of the seeds.

    Raises:
        AnalysisError: there is nothing to write, or a seed is given twice.
        ModelError: the model has no BOS token, or cannot take so many tokens.
        SiteError: the plan is for another model.
    """
    if sentences < 1 or not seeds:
        raise AnalysisError(
            f"{sentences} sentences for {len(seeds)} seeds; give at least one of each"
        )
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise AnalysisError(f"seeds {list(seeds)}; give each once, from 0")
    # A batch of few texts takes as long as one of more, so those of all seeds stand side by side.
    places = [*range(sentences)] * len(seeds)
    texts = adapter.generate(
        [""] * len(places),
        intervention=None if plan is None else for_texts(plan, places, sentences),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=[seed for seed in seeds for _ in range(sentences)],
        progress=progress,
    ).texts
    return {
        seed: texts[number * sentences : (number + 1) * sentences]
        for number, seed in enumerate(seeds)
    }


def texts_frame(texts: Texts) -> pd.DataFrame:
    """Tabulate texts, one row a text: `seed`, `sentence` (its place, from 0), `text`."""
    rows = [
        (seed, sentence, text)
        for seed, written in texts.items()
        for sentence, text in enumerate(written)
    ]
    return pd.DataFrame(rows, columns=["seed", "sentence", "text"])


def texts_by_seed(frame: pd.DataFrame) -> dict[int, tuple[str, ...]]:
    """Read back what `texts_frame` tabulates."""
    return {
        int(str(seed)): tuple(rows.sort_values("sentence")["text"])
        for seed, rows in frame.groupby("seed", sort=False)
    }


def score_documents(
    adapter: Adapter,
    documents: Sequence[str],
    plan: AnyPlan | None,
    *,
    context: int | None = None,
    stride: int | None = 512,
) -> pd.DataFrame:
    """Sum up how badly a model predicts the tokens of documents, for their perplexity.

    In strided windows, each token scored once, as in Sundar et al. 2025 (arXiv 2502.15639, PAPER
    step 10: stride 512 on Wikipedia in the target language); see `Adapter.losses`.

    Args:
        adapter: the model.
        documents: each at least two tokens long, BOS included.
        plan: what is done to the model meanwhile; None for nothing.
        context: window in tokens; None takes what the model can take, at most 1,024.
        stride: how far windows move; None takes half of `context`.

    Returns:
        One row for each `STRETCH` scored tokens of a document, the last row of a document for what
        is left: `document` and `stretch`, both from 0; `nll`, the sum of the negative
        log-likelihoods in nats; `tokens`, how many they are of. A loss that is not finite under a
        plan is an outcome of the plan, and counts as infinite.

    Raises:
        AnalysisError: the plan steers generated tokens only, of which a document has none, or the
            unsteered model has a loss that is not finite.
        ModelError: a document is too short, or the window does not fit.
        SiteError: the plan is for another model.
    """
    if any(step.positions == "generated" for step in acting_steps(plan)):
        raise AnalysisError(
            "the plan steers generated tokens, and a document has none, so it has no perplexity "
            "under the plan; give positions='all' or 'prompt'"
        )
    losses_by_document = adapter.losses(
        documents, intervention=plan, context=context, stride=stride
    )
    frames = []
    for document, losses in enumerate(losses_by_document):
        finite = np.isfinite(losses)
        if plan is None and not finite.all():
            raise AnalysisError(
                f"document {document} has a loss that is not finite under the unsteered model; "
                "leave the document out, or run the model in float32"
            )
        starts = np.arange(0, len(losses), STRETCH)
        frames.append(
            pd.DataFrame(
                {
                    "document": document,
                    "stretch": np.arange(len(starts)),
                    "nll": np.add.reduceat(
                        np.where(finite, losses, np.inf).astype(np.float64), starts
                    ),
                    "tokens": np.diff([*starts, len(losses)]),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
