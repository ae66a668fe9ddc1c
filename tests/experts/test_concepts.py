"""Experts of labelled texts, against scikit-learn and numpy on what a plain model answers."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import transformers
from sklearn.metrics import average_precision_score, roc_auc_score

from steer_plugin import LabelledCorpus, ProbeSettings, find_experts
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.experts.table import score_units
from steer_plugin.responses.probe import Probe, probe_units
from steer_plugin.settings.parts import SCORES

from support import saved_models
from support.oracle import Oracle, pooled

Array = np.ndarray[Any, Any]
LAYERS, WIDTH = 3, 10
# Numbers of texts of each label, the first ones of the bundled files.
COUNTS = {
    "as bundled": {"question": 150, "statement": 150},
    "unequal": {"formal": 90, "casual": 7},
    "three labels": {"statement": 11, "casual": 2, "formal": 29},
}


@dataclass(frozen=True)
class Answers:
    """What a plain model answers to texts.

    Attributes:
        labels: of each text.
        tokens: the gate at each of a text's own tokens, [token, unit].
        responses: the largest activation of each unit, [text, unit].
    """

    labels: Array
    tokens: Sequence[Array]
    responses: Array


def bundled_texts() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for name in ("questions", "registers"):
        content = files("steer_plugin.data").joinpath(f"{name}.tsv").read_text("utf-8")
        for row in csv.DictReader(content.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
            texts.setdefault(row["label"], []).append(row["text"])
    return texts


TEXTS = bundled_texts()
KEYS = [(site, layer) for site in ("mlp.hook_post", "mlp.hook_pre") for layer in range(LAYERS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return saved_models.save_byte_model(tmp_path_factory.mktemp("bytes"), WIDTH)


@pytest.fixture(scope="module")
def adapter(folder: Any) -> Any:
    return load_adapter(str(folder))


def corpus_of(counts: dict[str, int]) -> LabelledCorpus:
    return LabelledCorpus.read({label: TEXTS[label][:count] for label, count in counts.items()})


@pytest.fixture(scope="module", params=COUNTS)
def sizes(request: pytest.FixtureRequest) -> dict[str, int]:
    return COUNTS[request.param]


@pytest.fixture(scope="module")
def answers(folder: Any, sizes: dict[str, int]) -> Answers:
    oracle = Oracle(
        "llama",
        transformers.AutoModelForCausalLM.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
        bos=True,
    )
    gates, responses = [], []
    for label, count in sizes.items():
        for text in TEXTS[label][:count]:
            activations = oracle.activations(text, KEYS)
            both = [
                np.concatenate([activations[k] for k in part], 1) for part in (KEYS[:3], KEYS[3:])
            ]
            responses.append(pooled(both[0], "max"))
            gates.append(both[1])
    labels = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    return Answers(labels, gates, np.stack(responses))


def of_each_unit(score: Callable[[Array, Array], float]) -> Callable[[Answers, Array], Array]:
    """Score each concept's texts against the rest, a unit at a time."""
    return lambda answers, responses: np.array(
        [
            [score(answers.labels == concept, unit) for unit in responses.T]
            for concept in np.unique(answers.labels)
        ]
    )


def d_prime(positive: Array, unit: Array) -> float:
    one, rest = unit[positive], unit[~positive]
    return float((one.mean() - rest.mean()) / np.sqrt((one.var() + rest.var()) / 2))


def shares(answers: Answers) -> tuple[Array, Array]:
    """Give each unit's share of active tokens in each concept, and how many tokens that has."""
    of_concepts = [
        np.concatenate([answers.tokens[row] for row in np.flatnonzero(answers.labels == concept)])
        for concept in np.unique(answers.labels)
    ]
    return (
        np.stack([(tokens > 0).mean(0) for tokens in of_concepts]),
        np.array([len(tokens) for tokens in of_concepts]),
    )


def frequency(answers: Answers, _: Array) -> Array:
    share, counts = shares(answers)
    active = share * counts[:, None]
    rest = (active.sum(0) - active) / (counts.sum() - counts)[:, None]
    return np.asarray(share - rest)


def lape(answers: Answers, _: Array) -> Array:
    share, _ = shares(answers)
    q = share / np.maximum(share.sum(0), 1e-300)
    entropy = -np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0).sum(0)
    return np.where(share > np.percentile(share, 95), 1 - entropy / np.log(len(share)), 0)


REFERENCES: dict[str, Callable[[Answers, Array], Array]] = {
    "auroc": of_each_unit(roc_auc_score),
    "average_precision": of_each_unit(average_precision_score),
    "mean_difference": of_each_unit(d_prime),
    "activation_frequency": frequency,
    "lape": lape,
}


@pytest.fixture(scope="module")
def probe(adapter: Any, sizes: dict[str, int]) -> Probe:
    return probe_units(adapter, corpus_of(sizes), active=True)


def test_the_responses_to_labelled_texts_are_those_of_the_plain_model(
    probe: Probe, answers: Answers, sizes: dict[str, int]
) -> None:
    assert probe.concepts == tuple(sizes)
    assert probe.sentences is None
    np.testing.assert_array_equal(probe.labels, answers.labels)
    np.testing.assert_allclose(probe.responses[:], answers.responses, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_experts_of_labels_equal_the_reference_on_the_same_responses(
    probe: Probe, answers: Answers, adapter: Any, sizes: dict[str, int], score: Any
) -> None:
    table = score_units(probe, score)

    wanted = REFERENCES[score](answers, np.asarray(probe.responses[:], dtype=np.float64))
    assert table.scores.shape == (len(sizes), LAYERS * WIDTH)
    np.testing.assert_allclose(table.scores, wanted, rtol=0, atol=1e-6)
    labelled = find_experts(adapter, corpus_of(sizes), ProbeSettings(score=score))
    np.testing.assert_array_equal(labelled.scores, table.scores)


def test_one_concept_against_a_background_has_the_experts_of_two_labels(adapter: Any) -> None:
    two = LabelledCorpus.read({"question": TEXTS["question"][:9], "other": TEXTS["casual"][:5]})
    against = LabelledCorpus.read({"question": TEXTS["question"][:9]}, against=TEXTS["casual"][:5])

    tables = [find_experts(adapter, corpus) for corpus in (two, against)]

    assert [table.concepts for table in tables] == [
        ("question", "other"),
        ("question", "background"),
    ]
    np.testing.assert_array_equal(tables[0].scores, tables[1].scores)


def test_shuffled_labels_keep_their_numbers_and_say_nothing(adapter: Any) -> None:
    corpus = LabelledCorpus.bundled("questions")
    probe = probe_units(adapter, corpus)
    n, each = len(corpus), 150
    draws = [probe.shuffled(seed) for seed in range(60)]

    aurocs = np.stack([score_units(draw, "auroc").scores[0] for draw in draws])

    assert {tuple(np.bincount(draw.labels)) for draw in draws} == {(each, each)}
    assert len({draw.labels.tobytes() for draw in draws}) == len(draws)
    # The variance of a rank sum without ties; tied units, which there are few of, vary less.
    deviation = np.sqrt((n + 1) / (12 * each * each))
    units = aurocs.mean(0)
    assert abs(units.mean() - 0.5) < 3 * deviation / np.sqrt(len(draws))
    assert np.quantile(aurocs.std(0) / deviation, [0.01, 0.99]) == pytest.approx(1, abs=0.3)
    # A question mark is a byte that this model reads.
    assert score_units(probe, "auroc").scores[0].max() > aurocs.max()


def test_experts_by_shuffled_labels_are_those_of_the_shuffled_probe(adapter: Any) -> None:
    corpus = corpus_of(COUNTS["three labels"])

    table = find_experts(adapter, corpus, shuffled=3)

    wanted = probe_units(adapter, corpus).shuffled(3)
    np.testing.assert_array_equal(table.scores, score_units(wanted, "auroc").scores)
    assert table.provenance["labels"] == "shuffled, seed 3"
    assert sorted(wanted.labels) == sorted(corpus.labels)
