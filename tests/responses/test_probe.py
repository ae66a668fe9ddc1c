"""One pass over a corpus, and all scores from it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_plugin import ParallelCorpus, ProbeSettings, find_experts
from steer_plugin.activations.sites import UnitSpace
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ScoreError, SiteError
from steer_plugin.experts.table import score_units
from steer_plugin.responses.probe import Probe, probe_units
from steer_plugin.scores.mean_difference import mean_difference
from steer_plugin.scores.probe_scores import probe_scores
from steer_plugin.scores.rank_scores import scores
from steer_plugin.scores.token_scores import activation_frequency, lape
from steer_plugin.settings.parts import SCORES

from support import tiny_models
from support.oracle import Oracle
from support.tiny_models import N_LAYERS, Tiny

Array = np.ndarray[Any, Any]

LANGUAGES = ("deu_Latn", "eng_Latn", "fra_Latn")


def sentence(language: int, number: int) -> str:
    """Give each language words of its own, so that there is something to find."""
    draw = random.Random(100 * language + number)  # noqa: S311
    third = len(tiny_models.WORDS) // 3
    words = tiny_models.WORDS[language * third : (language + 1) * third]
    return " ".join(draw.choices(words, k=draw.randint(1, 9)))


CORPUS = ParallelCorpus.read(
    {
        name: [sentence(language, number) for number in range(20)]
        for language, name in enumerate(LANGUAGES)
    }
)


def made_up(concepts: int = 3, sentences: int = 8, *, units: int = 4, seed: int = 0) -> Probe:
    """Give a probe whose responses say which row they are of, in no order of rows."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(concepts * sentences)
    number = torch.from_numpy(order).float().unsqueeze(1)
    return Probe(
        responses=number + 1000 * torch.arange(units),
        active=torch.ones((len(order), units)),
        tokens=order + 1,
        labels=order // sentences,
        concepts=tuple(f"concept {concept}" for concept in range(concepts)),
        sentences=10 * (order % sentences),
        space=UnitSpace("mlp.hook_post", (0, 1), (1, units - 1)),
        provenance={"model": "made up"},
    )


@pytest.fixture
def adapter(tiny_model: Callable[[str], Tiny]) -> BridgeAdapter:
    model = tiny_model("llama")
    return BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True, batch_tokens=64)


@pytest.fixture
def passes(adapter: BridgeAdapter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Count the forward passes of the model itself, once it is known which it is."""
    identity = adapter.identify()
    monkeypatch.setattr(adapter, "identify", lambda: identity)
    for site in ("mlp.hook_post", "mlp.hook_pre"):
        adapter.space(site)
    seen: list[None] = []
    transformer: Any = adapter.bridge.original_model
    embedding = transformer.get_input_embeddings()
    handle = embedding.register_forward_hook(lambda *_: seen.append(None))
    yield seen
    handle.remove()


def test_every_score_comes_from_one_pass_and_equals_that_of_find_experts(
    adapter: BridgeAdapter, passes: list[None]
) -> None:
    batches = len(list(adapter.tokens.batches(CORPUS.labelled()[0], 64)))
    assert batches > 3

    probe = probe_units(adapter, CORPUS, active=True)
    tables = {score: score_units(probe, score) for score in SCORES}

    assert len(passes) == batches
    for score, found in tables.items():
        wanted = find_experts(adapter, CORPUS, ProbeSettings(score=score))
        np.testing.assert_array_equal(found.scores, wanted.scores)
        assert found.scores.shape == (3, N_LAYERS * 24)
        assert (found.score, found.chance, found.concepts, found.space, found.provenance) == (
            wanted.score,
            wanted.chance,
            wanted.concepts,
            wanted.space,
            wanted.provenance,
        )
        for name, values in wanted.statistics.items():
            np.testing.assert_array_equal(found.statistics[name], values)
        assert (found.scores > np.array(found.chance)[:, None]).any()
    assert len(passes) == (1 + len(SCORES)) * batches


@pytest.mark.parametrize("site", ["mlp.hook_post", "mlp.hook_pre"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_token_scores_count_the_tokens_at_which_the_activation_function_is_above_zero(
    name: str, site: str, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model(name)
    adapter = BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True, batch_tokens=64)
    oracle = Oracle(name, model.plain, model.tokenizer, bos=True)
    # Plain models have GELU's output there; in gated ones that is the gate's, not the product.
    seen = "mlp.hook_post" if name == "gpt2" else "mlp.hook_pre"
    keys = [(seen, layer) for layer in (0, 2)]
    shares = []
    for texts in CORPUS.texts:
        tokens = [oracle.activations(text, keys) for text in texts]
        shares.append(
            np.concatenate(
                [(np.concatenate([of[key] for of in tokens]) > 0).mean(0) for key in keys]
            )
        )
    p = np.stack(shares)
    q = p / p.sum(0)
    entropy = -np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0).sum(0)
    bar = np.percentile(p, 95)

    found = {
        score: find_experts(adapter, CORPUS, ProbeSettings(site=site, layers=(0, 2), score=score))
        for score in ("activation_frequency", "lape")
    }

    tokens = [sum(len(oracle.ids(text)) - 1 for text in texts) for texts in CORPUS.texts]
    total = sum(tokens)
    for language, count in enumerate(tokens):
        rest = (np.array(tokens) @ p - count * p[language]) / (total - count)
        np.testing.assert_allclose(
            found["activation_frequency"].scores[language], p[language] - rest, atol=1e-12
        )
        wanted = np.where(p[language] > bar, 1 - entropy / np.log(3), 0)
        np.testing.assert_allclose(found["lape"].scores[language], wanted, atol=1e-12)
    assert found["lape"].space.site == site


def test_responses_are_a_table_with_texts_ids_and_labels_of_units(adapter: BridgeAdapter) -> None:
    probe = probe_units(adapter, CORPUS)
    texts, labels = CORPUS.labelled()

    frame = probe.frame()
    some = probe.frame(["L1N2", "L0N0"])

    assert list(frame.columns[:6]) == ["concept", "id", "text", "tokens", "L0N0", "L0N1"]
    assert list(frame["text"]) == texts
    assert list(frame["concept"]) == [LANGUAGES[label] for label in labels]
    assert list(frame["id"]) == [*CORPUS.ids] * 3
    np.testing.assert_array_equal(frame.iloc[:, 4:], probe.responses)
    assert list(some.columns[4:]) == ["L1N2", "L0N0"]
    np.testing.assert_array_equal(some["L1N2"], frame["L1N2"])
    drawn = probe.resampled(0).frame(["L0N0"])
    first = frame.drop_duplicates("text").set_index("text")["L0N0"]
    np.testing.assert_array_equal(drawn["L0N0"], first[drawn["text"]])
    assert "text" not in made_up().frame()
    with pytest.raises(SiteError, match="unit L0N999 does not exist"):
        probe.frame(["L0N999"])


def test_a_score_looks_at_what_it_is_of() -> None:
    probe = made_up()
    for name in ("auroc", "average_precision"):
        wanted = scores(probe.responses, probe.labels, (name,))[name]
        np.testing.assert_array_equal(probe_scores(probe, name), wanted)
    d = mean_difference(probe.responses, probe.labels)
    np.testing.assert_array_equal(probe_scores(probe, "mean_difference"), d)
    active = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (24, 4)).astype("float32"))
    probe = replace(probe, active=active)
    for name, function in (("activation_frequency", activation_frequency), ("lape", lape)):
        wanted = function(active, probe.tokens, probe.labels)
        np.testing.assert_array_equal(probe_scores(probe, name), wanted)
        assert wanted.any()


@pytest.mark.parametrize("name", ["activation_frequency", "lape"])
def test_a_probe_without_active_tokens_says_how_to_get_them(name: Any) -> None:
    with pytest.raises(ScoreError, match=f"{name} counts active tokens, .*; give active=True"):
        probe_scores(replace(made_up(), active=None), name)


def test_tokens_are_only_counted_where_neurons_can_be_silent(adapter: BridgeAdapter) -> None:
    assert probe_units(adapter, CORPUS, ProbeSettings(site="hook_mlp_out")).active is None
    with pytest.raises(ScoreError, match="units at hook_mlp_out have none; take mlp"):
        probe_units(adapter, CORPUS, ProbeSettings(site="hook_mlp_out"), active=True)


def test_a_model_without_the_site_is_told(adapter: BridgeAdapter) -> None:
    with pytest.raises(SiteError):
        probe_units(adapter, CORPUS, ProbeSettings(site="nowhere"))


# Shuffled labels


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 5), st.integers(1, 12), st.integers(0, 2**63))
def test_shuffled_labels_are_permuted_within_each_sentence(
    concepts: int, sentences: int, seed: int
) -> None:
    probe = made_up(concepts, sentences, seed=seed)
    found = probe.shuffled(seed)
    for one in np.unique(probe.sentences):
        assert sorted(found.labels[probe.sentences == one]) == list(range(concepts))
    for kept in ("responses", "active", "tokens", "sentences", "space", "concepts"):
        assert getattr(found, kept) is getattr(probe, kept)
    np.testing.assert_array_equal(found.labels, probe.shuffled(seed).labels)


def test_each_permutation_of_a_sentence_comes_as_often_and_on_its_own() -> None:
    probe = made_up(3, 2)
    first, second = (np.flatnonzero(probe.sentences == one) for one in (0, 10))
    drawn = [probe.shuffled(seed).labels for seed in range(3600)]
    pairs = [(tuple(labels[first]), tuple(labels[second])) for labels in drawn]
    kinds, times = np.unique(np.array(pairs).reshape(-1, 6), axis=0, return_counts=True)
    assert len(kinds) == 36
    # 100 of each are expected; the chance of a chi-square of 80 with 35 degrees is 2e-5.
    assert ((times - 100) ** 2 / 100).sum() < 80


def test_a_shuffled_or_resampled_table_says_so() -> None:
    assert made_up().shuffled(7).provenance == {
        "model": "made up",
        "labels": "shuffled, seed 7",
    }
    assert score_units(made_up().resampled(3), "auroc").provenance == {
        "model": "made up",
        "sentences": "resampled, seed 3",
        "score": "auroc",
    }


# Resampled sentences


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 5), st.integers(1, 12), st.integers(0, 2**63))
def test_resampled_sentences_are_the_same_in_every_concept(
    concepts: int, sentences: int, seed: int
) -> None:
    probe = made_up(concepts, sentences, seed=seed)
    found = probe.resampled(seed)
    assert len(found.labels) == len(probe.labels)
    # A made up response says of which concept and sentence it is.
    row = found.responses[:, 0].numpy().astype(int)
    np.testing.assert_array_equal(found.responses.numpy(), row[:, None] + [0, 1e3, 2e3, 3e3])
    np.testing.assert_array_equal(found.labels, row // sentences)
    np.testing.assert_array_equal(found.tokens, row + 1)
    for one in range(sentences):
        assert len(set(row[found.sentences == one] % sentences)) == 1
        assert sorted(found.labels[found.sentences == one]) == list(range(concepts))
    assert found.active is not None


def test_sentences_are_drawn_with_replacement_and_by_seed() -> None:
    probe = made_up(2, 200)
    drawn = [probe.resampled(seed).responses[:, 0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # A sentence is drawn at least once with a chance of 1 - 1/e.
    assert 0.56 < len(set(drawn[0].tolist())) / 400 < 0.7
    assert replace(probe, active=None).resampled(0).active is None


# What is no probe


def of(**changed: Any) -> Callable[[], Probe]:
    return lambda: replace(made_up(), **changed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            of(responses=torch.ones((24, 3))),
            r"responses of shape \(24, 3\) and \(24, 4\) and 24 to",
        ),
        (of(active=torch.ones((23, 4))), r"responses of shape \(24, 4\) and \(23, 4\) and 24 toke"),
        (of(tokens=np.ones(5, int)), "and 5 token counts were given for 24 labels and 4 units at "),
        (of(concepts=("a", "b")), "24 rows are not each of 8 sentences once in each of 2 concepts"),
        (of(sentences=np.arange(24)), "24 rows are not each of 24 sentences once in each of 3 con"),
        (of(labels=np.zeros(24, int)), "24 rows are not each of 8 sentences once in each of 3"),
        (of(labels=made_up().labels + 1), "24 rows are not each of 8 sentences once in each of 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(make: Callable[[], Probe], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        make()
