"""Sentence embeddings of a parallel corpus, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.corpora.named_corpora import need_parallel
from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.errors import ModelError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import Responses, gather
from steer_plugin.settings.names import FINAL_NORM

Layer = int | str
Embeddings = Mapping[str, Float[np.ndarray, "sentence d_model"]]

FINAL = "final"


def embed(
    adapter: Adapter,
    corpus: Corpus,
    *,
    intervention: AnyPlan | None = None,
    layer: Layer = FINAL,
    progress: str | None = None,
) -> dict[str, Float[np.ndarray, "sentence d_model"]]:
    """Embed each sentence as the mean over its tokens of a hidden state.

    The default, the last hidden state after the final norm, is that of Sundar et al. 2025
    (arXiv 2502.15639), section 3. BOS and padding are left out of the mean.

    Args:
        adapter: the model.
        corpus: sentences by language.
        intervention: what is done to the model meanwhile; None for nothing.
        layer: a block's index for the residual stream after it, or "final".
        progress: what to call the work in a bar on stderr; None shows none.

    Returns:
        For each language, one row a sentence in the order of `corpus.ids`, float32 (float64 for a
        float64 model).

    Raises:
        ModelError: there is no such layer.
        CorpusError: the texts are no translations of each other; `probe_units` reads these.
    """
    return embed_layers(
        adapter, corpus, layers=[layer], intervention=intervention, progress=progress
    )[layer]


def embed_layers(
    adapter: Adapter,
    corpus: Corpus,
    *,
    layers: Sequence[Layer],
    intervention: AnyPlan | None = None,
    progress: str | None = None,
    keep: Path | None = None,
) -> dict[Layer, dict[str, Float[np.ndarray, "sentence d_model"]]]:
    """Embed a corpus at several layers in one pass; see `embed`, and `gather` for `keep`."""
    parallel = need_parallel(corpus, "embed")
    texts, _ = parallel.labelled()
    readings = [layer_reading(adapter, layer) for layer in layers]
    responses = gather(
        adapter, texts, readings, intervention=intervention, progress=progress, keep=keep
    )
    return by_layer(responses, parallel, dict(zip(layers, readings, strict=True)))


def by_layer(
    responses: Responses, corpus: ParallelCorpus, readings: Mapping[Layer, Reading]
) -> dict[Layer, dict[str, Float[np.ndarray, "sentence d_model"]]]:
    """Part what a pass over a corpus read by layer and language; see `embed_layers`."""
    _, labels = corpus.labelled()
    return {
        layer: {
            language: responses[reading].numpy()[labels == row]
            for row, language in enumerate(corpus.languages)
        }
        for layer, reading in readings.items()
    }


def layer_reading(adapter: Adapter, layer: Layer) -> Reading:
    """Say what an embedding at a layer is read as.

    Raises:
        ModelError: there is no such layer.
    """
    if layer == FINAL:
        return Reading(FINAL_NORM, "mean")
    if not isinstance(layer, int) or not 0 <= layer < adapter.info.n_layers:
        raise ModelError(
            f"layer {layer!r} does not exist; give 0..{adapter.info.n_layers - 1} or {FINAL!r}"
        )
    return Reading("hook_resid_post", "mean", (layer,))
