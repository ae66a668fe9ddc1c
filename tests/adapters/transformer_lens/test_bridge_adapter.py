"""The TransformerLens adapter against plain Hugging Face models."""

import copy
import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch

from steer_plugin import ParallelCorpus, adapt, embed, embed_layers, find_experts, steered
from steer_plugin.activations.pooling import ACTIVE
from steer_plugin.adapters.shared import transformer_lens_version
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import OPERATIONS, POOLINGS

from support import tiny_models
from support.covering import pairwise
from support.oracle import PATHS, Key, Oracle, pooled
from support.plans import POSITIONS, SITES, intervention, plan
from support.tiny_models import ARCHITECTURES, MAX_TOKENS, N_LAYERS, Tiny

TOLERANCE = 1e-5
TinyModel = Callable[[str], Tiny]


def sentence(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(tiny_models.WORDS, k=words))  # noqa: S311


# Neither sorted nor of one length; the longest fills the model once BOS is in front.
TEXTS = [sentence(words, seed) for seed, words in enumerate((4, 1, 63, 9, 2, 30, 1))]
SHORT = [sentence(words, seed) for seed, words in enumerate((3, 7, 1))]
PROMPTS = [sentence(words, 40 + words) for words in (2, 6, 1)]


@pytest.fixture(scope="session")
def oracle_of(tiny_model: TinyModel) -> Callable[..., Oracle]:
    return lambda name, bos=True: Oracle(
        name, tiny_model(name).plain, tiny_model(name).tokenizer, bos
    )


@pytest.fixture(scope="session")
def expected(oracle_of: Callable[..., Oracle]) -> Callable[[str, bool], dict[Reading, np.ndarray]]:
    """Give what every reading of every site of a model should be, worked out once."""

    @cache
    def work_out(name: str, bos: bool) -> dict[Reading, np.ndarray]:
        oracle = oracle_of(name, bos)
        every = [key for site in PATHS[name] for key in _keys(site)]
        found = [oracle.activations(text, every) for text in TEXTS]
        return {reading: _pool(found, reading) for reading in _readings(name)}

    return work_out


def _readings(name: str) -> list[Reading]:
    return [Reading(site, pooling) for site in PATHS[name] for pooling in (*POOLINGS, ACTIVE)]


def _keys(site: str) -> list[Key]:
    return [(site, layer) for layer in range(1 if site == FINAL_NORM else N_LAYERS)]


def _pool(found: list[dict[Key, np.ndarray]], reading: Reading) -> np.ndarray:
    keys = _keys(reading.site)
    return np.stack(
        [np.concatenate([pooled(of[key], reading.pooling) for key in keys]) for of in found]
    )


def _adapter(model: Tiny, *, bos: bool = True, batch_tokens: int = 2048) -> BridgeAdapter:
    return BridgeAdapter(
        model.bridge, tokenizer=model.tokenizer, bos=bos, batch_tokens=batch_tokens
    )


def _pooled(
    adapter: Adapter,
    site: str,
    texts: Sequence[str] = SHORT,
    intervention: Intervention | None = None,
) -> np.ndarray:
    reading = Reading(site, "mean")
    return np.asarray(gather(adapter, texts, [reading], intervention=intervention)[reading])


# Reading


@pytest.mark.parametrize(
    ("name", "bos", "batch_tokens"), pairwise(ARCHITECTURES, [True, False], [4096, 16])
)
def test_every_site_and_pooling_in_one_pass_equals_plain_hugging_face(
    name: str,
    bos: bool,
    batch_tokens: int,
    tiny_model: TinyModel,
    expected: Callable[[str, bool], dict[Reading, np.ndarray]],
) -> None:
    adapter = _adapter(tiny_model(name), bos=bos, batch_tokens=batch_tokens)

    found = gather(adapter, TEXTS, _readings(name))

    for reading, responses in expected(name, bos).items():
        assert found[reading].dtype == torch.float32
        np.testing.assert_allclose(
            found[reading], responses, rtol=0, atol=TOLERANCE, err_msg=str(reading)
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_neither_the_order_of_texts_nor_batches_of_one_change_a_response(
    name: str, tiny_model: TinyModel, expected: Callable[[str, bool], dict[Reading, np.ndarray]]
) -> None:
    adapter = _adapter(tiny_model(name), batch_tokens=1)
    readings = [Reading(site, "mean") for site in PATHS[name]]
    order = [3, 0, 5, 2, 1]

    found = gather(adapter, [TEXTS[row] for row in order], readings)

    for reading in readings:
        np.testing.assert_allclose(
            found[reading], expected(name, True)[reading][order], rtol=0, atol=TOLERANCE
        )


def test_a_float64_model_answers_in_float64_to_its_full_precision(
    shipped: Callable[[str], Any],
) -> None:
    model = tiny_models.boot("gpt2", shipped("gpt2"), dtype=torch.float64)
    oracle = Oracle("gpt2", model.plain, model.tokenizer, bos=True)
    readings = _readings("gpt2")

    found = gather(_adapter(model, batch_tokens=64), TEXTS, readings)

    for reading in readings:
        assert found[reading].dtype == torch.float64
        responses = oracle.responses(TEXTS, _keys(reading.site), reading.pooling)
        np.testing.assert_allclose(found[reading], responses, rtol=0, atol=1e-12)


def test_batches_come_as_they_are_run_and_hold_each_text_once(tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("gpt2"), batch_tokens=16)

    batches = list(adapter.collect(TEXTS, [Reading("hook_resid_post", "last")]))

    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(TEXTS)))
    assert len(batches) > 2
    for batch in batches:
        (responses,) = batch.responses.values()
        assert responses.shape == (len(batch.rows), N_LAYERS * tiny_models.D_MODEL)


@pytest.mark.parametrize("bos", [True, False])
def test_the_tokens_that_are_pooled_over_are_counted(
    bos: bool, tiny_model: TinyModel, oracle_of: Callable[..., Oracle]
) -> None:
    oracle = oracle_of("llama", bos)

    found = gather(_adapter(tiny_model("llama"), bos=bos), TEXTS, [Reading(FINAL_NORM, "mean")])

    assert found.tokens.tolist() == [len(oracle.ids(text)) - bos for text in TEXTS]


@pytest.mark.parametrize("site", ["mlp.hook_post", "attn.hook_z", "hook_resid_post"])
def test_some_layers_are_those_columns_of_all_layers(site: str, tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("gemma3"))
    every, outer, middle = (Reading(site, "max", layers) for layers in (None, (0, 2), (1,)))

    found = gather(adapter, SHORT, [outer, every, middle])

    whole = adapter.space(site)
    first, second, third = (found[every][:, whole.layer_slice(layer)] for layer in range(3))
    assert torch.equal(found[outer], torch.cat([first, third], 1))
    assert torch.equal(found[middle], second)
    assert adapter.space(site, (0, 2)).widths == (first.shape[1], third.shape[1])


def test_no_logits_are_computed_while_collecting(tiny_model: TinyModel) -> None:
    model = tiny_model("llama")
    adapter = _adapter(model)
    calls: list[int] = []
    head = model.bridge.original_model.get_output_embeddings()
    handle = head.register_forward_hook(lambda *_: calls.append(1))
    try:
        gather(adapter, SHORT, [Reading("mlp.hook_post", "max"), Reading(FINAL_NORM, "mean")])
        assert calls == []
        adapter.losses(SHORT[:1])
        assert calls == [1]
    finally:
        handle.remove()


def test_reading_leaves_no_hook_behind_even_when_it_is_broken_off(tiny_model: TinyModel) -> None:
    model = tiny_model("gpt2")
    batches = _adapter(model, batch_tokens=1).collect(TEXTS, [Reading("mlp.hook_post", "max")])
    next(batches)

    assert model.hooks() == []


def test_a_model_that_was_read_can_still_be_trained(tiny_model: TinyModel) -> None:
    model = tiny_model("gemma3")
    gather(_adapter(model), TEXTS, [Reading("hook_resid_post", "max")])

    model.bridge(torch.tensor([[1, 5, 6, 7]]), return_type="loss").backward()

    gradients = [p.grad for p in model.bridge.original_model.parameters() if p.grad is not None]
    assert any(bool(gradient.any()) for gradient in gradients)
    model.bridge.original_model.zero_grad()


def test_bfloat16_models_are_read_and_changedin_their_own_dtype(
    shipped: Callable[[str], Any],
) -> None:
    model = tiny_models.boot("gemma3", shipped("gemma3"), dtype=torch.bfloat16)
    oracle = Oracle("gemma3", model.plain, model.tokenizer, bos=True)
    adapter = _adapter(model)
    acts = plan("mlp.hook_post", "blend")
    reading = Reading("mlp.hook_post", "max")
    seen: list[torch.dtype] = []

    def look(activations: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        seen.append(activations.dtype)

    with model.bridge.hooks(fwd_hooks=[("blocks.0.mlp.out.hook_out", look)]):
        found = gather(adapter, SHORT, [reading], intervention=intervention(acts))[reading]

    assert adapter.info.dtype == "bfloat16"
    assert set(seen) == {torch.bfloat16}
    assert found.dtype == torch.float32
    responses = oracle.responses(SHORT, _keys("mlp.hook_post"), "max", acts)
    np.testing.assert_allclose(found, responses, rtol=0.05, atol=0.05)
    assert (
        len(adapter.generate(PROMPTS, intervention=intervention(acts), max_new_tokens=3).ids) == 3
    )


# Sites that are not there


@pytest.mark.parametrize(
    ("name", "site"),
    [(name, site) for name in ARCHITECTURES for site in SITES if site not in PATHS[name]],
)
def test_a_site_that_an_architecture_lacks_or_aliases_is_refused_by_name(
    name: str, site: str, tiny_model: TinyModel
) -> None:
    adapter = _adapter(tiny_model(name))
    acts = Intervention(site, (1,), (0,), (1.0,))

    with pytest.raises(SiteError, match=rf"tiny-{name} has no {site} in layer 0"):
        adapter.space(site)
    with pytest.raises(SiteError, match=rf"tiny-{name} has no {site}"):
        next(iter(adapter.collect(SHORT, [Reading(site, "max")])))
    with pytest.raises(SiteError, match=rf"tiny-{name} has no {site} in layer 1"):
        acts.fwd_hooks(tiny_model(name).bridge)


@pytest.mark.parametrize(
    ("release", "ends"),
    [("3.9.0", r"choose another site \(transformer-lens>=4\.3 maps more, see docs/models\.md\)$"),
     ("4.3.0", "choose another site$")],
)  # fmt: skip
def test_an_older_transformer_lens_names_the_one_that_maps_more(
    release: str, ends: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer_lens_version, "version", lambda _: release)

    with pytest.raises(SiteError, match=ends):
        _adapter(tiny_model("mixtral")).space("mlp.hook_post")


@pytest.mark.parametrize("release", ["3.9.0", "4.1.0", "4.2.0"])
def test_a_bridge_that_computes_something_else_is_refused_where_it_does(
    release: str, shipped: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = tiny_models.boot("cohere", shipped("cohere")).bridge
    acts = Intervention("mlp.hook_post", (1,), (0,), (1.0,))
    refusal = (
        "^tiny-cohere on TransformerLens before 4.2: its attention rotates other pairs of units "
        "than the model's; run it on nnsight, or with transformer-lens>=4.2$"
    )
    monkeypatch.setattr(transformer_lens_version, "version", lambda _: release)

    if release == "4.2.0":
        assert adapt(bridge, tokenizer=shipped("cohere")).info.n_layers == N_LAYERS
        return
    with pytest.raises(ModelError, match=refusal):
        adapt(bridge, tokenizer=shipped("cohere"))
    with pytest.raises(ModelError, match=refusal), steered(bridge, acts):
        pass


@pytest.mark.parametrize("alibi", [False, True])
def test_falcon_is_refused_where_its_bridge_forgets_what_is_in_the_cache(
    alibi: bool, shipped: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = tiny_models.boot("falcon", shipped("falcon")).bridge
    monkeypatch.setattr(bridge.original_model.config, "alibi", alibi)
    monkeypatch.setattr(transformer_lens_version, "version", lambda _: "4.1.0")

    with (
        pytest.raises(ModelError, match="forgets what is in the cache") if alibi else nullcontext()
    ):
        adapt(bridge, tokenizer=shipped("falcon"))


@pytest.mark.parametrize("name", ["gpt2", "mixtral"])
def test_an_unknown_site_is_refused_with_the_sites_there_are(
    name: str, tiny_model: TinyModel
) -> None:
    with pytest.raises(SiteError, match=r"'mlp\.hook_pots' is not a site.*mlp\.hook_post"):
        _adapter(tiny_model(name)).space("mlp.hook_pots")


@pytest.mark.parametrize("layer", [-1, N_LAYERS])
def test_a_layer_out_of_range_is_refused(layer: int, tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("gpt2"))

    with pytest.raises(SiteError, match=rf"layer {layer} does not exist.*0\.\.2"):
        adapter.space("mlp.hook_post", (0, layer))


def test_no_layers_at_all_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(SiteError, match="no layers were given"):
        _adapter(tiny_model("gpt2")).space("mlp.hook_post", ())


def test_the_final_norm_has_no_layer_but_0(tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("gpt2"))
    acts = Intervention(FINAL_NORM, (0, 1), (2, 3), (1.0, 1.0))

    with pytest.raises(SiteError, match="layer 1 was given"):
        adapter.space(FINAL_NORM, (1,))
    with pytest.raises(SiteError, match="layer 1 was given"):
        acts.fwd_hooks(tiny_model("gpt2").bridge)


def test_a_unit_that_a_site_does_not_have_is_named(tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("llama"))
    acts = Intervention("mlp.hook_post", (1,), (24,), (1.0,))

    with pytest.raises(SiteError, match=r"L1N24 does not exist.*24 units in layer 1"):
        _pooled(adapter, FINAL_NORM, intervention=acts)
    assert tiny_model("llama").hooks() == []


# Texts and weights that do not do


@pytest.mark.parametrize("text", ["", "   "])
@pytest.mark.parametrize("bos", [True, False])
def test_a_text_without_tokens_is_refused_by_row(
    text: str, bos: bool, tiny_model: TinyModel
) -> None:
    with pytest.raises(ModelError, match="text 1 has no tokens to pool over"):
        _pooled(_adapter(tiny_model("gpt2"), bos=bos), FINAL_NORM, ["air", text])


def test_a_text_longer_than_the_model_takes_is_refused_by_row(tiny_model: TinyModel) -> None:
    long = sentence(MAX_TOKENS, 0)

    _pooled(_adapter(tiny_model("gpt2"), bos=False), FINAL_NORM, [long])
    with pytest.raises(ModelError, match=r"text 1 has 65 tokens, the model takes 64; split it"):
        _pooled(_adapter(tiny_model("gpt2"), bos=True), FINAL_NORM, ["air", long])


def test_bloom_takes_texts_of_any_length(tiny_model: TinyModel) -> None:
    text = sentence(3 * MAX_TOKENS, 0)

    assert np.isfinite(_pooled(_adapter(tiny_model("bloom")), FINAL_NORM, [text])).all()


@pytest.mark.parametrize("texts", [[], "air ant"])
def test_one_bare_text_or_none_is_not_taken_for_a_list(
    texts: Sequence[str], tiny_model: TinyModel
) -> None:
    adapter = _adapter(tiny_model("gpt2"))

    for ask in (
        lambda: list(adapter.collect(texts, [Reading(FINAL_NORM, "mean")])),
        lambda: adapter.generate(texts),
        lambda: adapter.losses(texts),
    ):
        with pytest.raises(ModelError, match="give a list of at least one text"):
            ask()


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_pooling_is_refused_with_the_poolings_there_are(tiny_model: TinyModel) -> None:
    reading = Reading("mlp.hook_post", "median")  # type: ignore[arg-type]

    with pytest.raises(ModelError, match=r"'median' is not a pooling.*max, mean, min, last"):
        gather(_adapter(tiny_model("gpt2")), SHORT, [reading])


def test_nan_weights_are_found_out_by_unit_and_sentence(shipped: Callable[[str], Any]) -> None:
    model = tiny_models.boot("gpt2", shipped("gpt2"))
    points = model.bridge.original_model.transformer.h[1].mlp.c_fc
    bias = next(value for name, value in points.named_parameters() if name.endswith("bias"))
    with torch.no_grad():
        bias[7] = float("nan")
    corpus = ParallelCorpus.read({"eng_Latn": ["air ant", "bay"], "deu_Latn": ["cat", "desk ear"]})

    with pytest.raises(ModelError, match=r"unit L1N7 at mlp\.hook_post responds with nan to 'air"):
        find_experts(_adapter(model), corpus)


# Models that do not do


@pytest.mark.parametrize("other", [torch.nn.Linear(2, 2), None, "gpt2"])
def test_what_is_no_model_can_be_neither_adapted_nor_steered(other: Any) -> None:
    refusal = r"give a .*model of transformers"
    with pytest.raises(ModelError, match=refusal):
        steered(other, Intervention("mlp.hook_post", (), (), ()))
    if not isinstance(other, str):  # a name is loaded
        with pytest.raises(ModelError, match=refusal):
            adapt(other)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_are_tokenized_as_the_tokenizer_ships(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model(name)

    adapter = adapt(model.bridge)

    assert adapter.info.bos == (name not in tiny_models.WITHOUT_OWN_BOS)
    assert isinstance(adapter, BridgeAdapter)
    encoded = adapter.tokens.encode(TEXTS)
    assert [text.ids for text in encoded] == model.tokenizer(TEXTS)["input_ids"]


def test_the_model_is_described_as_results_record_it(tiny_model: TinyModel) -> None:
    info = adapt(tiny_model("gemma3").bridge).info

    assert (info.name, info.n_layers, info.d_model, info.dtype) == ("tiny-gemma3", 3, 16, "float32")
    assert info.host == f"transformer_lens {version('transformer-lens')}"
    assert isinstance(_adapter(tiny_model("gemma3")), Adapter)


def test_a_tokenizer_that_cannot_be_loaded_is_an_error(
    shipped: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = tiny_models.boot("gpt2", shipped("gpt2")).bridge

    monkeypatch.setattr(bridge.tokenizer, "name_or_path", "no/such-folder")
    with pytest.raises(ModelError, match="cannot load the tokenizer of 'no/such-folder'"):
        adapt(bridge)
    bridge.tokenizer = None
    with pytest.raises(ModelError, match="the bridge has no tokenizer"):
        adapt(bridge)


def test_bos_cannot_be_asked_of_a_tokenizer_without_one(
    tiny_model: TinyModel, shipped: Callable[[str], Any]
) -> None:
    without = shipped("bloom").from_pretrained(shipped("bloom").name_or_path, bos_token=None)

    with pytest.raises(ModelError, match="tokenizer has no BOS token"):
        adapt(tiny_model("bloom").bridge, tokenizer=without, bos=True)
    assert not adapt(tiny_model("bloom").bridge, tokenizer=without).info.bos


# Interventions


@pytest.mark.parametrize(
    ("name", "site", "operation", "bos"),
    [
        (name, site, *(("set", True), ("add", False))[(row + column) % 2])
        for row, name in enumerate(ARCHITECTURES)
        for column, site in enumerate(PATHS[name])
    ],
)
def test_steering_any_site_equals_plain_hugging_face(
    name: str,
    site: str,
    operation: str,
    bos: bool,
    tiny_model: TinyModel,
    oracle_of: Callable[..., Oracle],
) -> None:
    adapter, oracle = _adapter(tiny_model(name)), oracle_of(name)
    layers = (0,) if site == FINAL_NORM else (0, 2)
    readings = [Reading(site, "mean"), Reading(FINAL_NORM, "max")]
    plain = gather(adapter, SHORT, readings)
    acts = plan(site, operation, layers=layers, bos=bos)

    changed = gather(adapter, SHORT, readings, intervention=intervention(acts))

    every = [*_keys(site), *_keys(FINAL_NORM)]
    activations = [oracle.activations(text, every, acts) for text in SHORT]
    for reading in readings:
        wanted = _pool(activations, reading)
        np.testing.assert_allclose(changed[reading], wanted, rtol=0, atol=TOLERANCE)
        assert (changed[reading] - plain[reading]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("operation", "strength", "positions", "front_and_bos", "name"),
    pairwise(
        [*OPERATIONS],
        [0.0, 0.4, 1.0],
        POSITIONS,
        [(True, True), (True, False), (False, True)],
        ["gpt2", "gemma3"],
    ),
)
def test_every_operation_strength_position_and_bos_policy_equals_plain_hugging_face(
    operation: str,
    strength: float,
    positions: str,
    front_and_bos: tuple[bool, bool],
    name: str,
    tiny_model: TinyModel,
    oracle_of: Callable[..., Oracle],
) -> None:
    if operation == "set":
        strength = float(round(strength))
    front, bos = front_and_bos
    acts = plan("mlp.hook_post", operation, strength=strength, positions=positions, bos=bos, seed=1)

    found = _pooled(
        _adapter(tiny_model(name), bos=front), FINAL_NORM, intervention=intervention(acts)
    )

    wanted = oracle_of(name, front).responses(SHORT, _keys(FINAL_NORM), "mean", acts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_float64_model_is_steered_to_its_full_precision(
    operation: str, shipped: Callable[[str], Any]
) -> None:
    model = tiny_models.boot("gpt2", shipped("gpt2"), dtype=torch.float64)
    oracle = Oracle("gpt2", model.plain, model.tokenizer, bos=True)
    acts = plan("mlp.hook_post", operation)

    found = _pooled(_adapter(model), FINAL_NORM, intervention=intervention(acts))

    wanted = oracle.responses(SHORT, _keys(FINAL_NORM), "mean", acts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bos", [True, False])
def test_padding_and_an_excluded_bos_are_never_touched(bos: bool, tiny_model: TinyModel) -> None:
    model = tiny_model("gpt2")
    adapter = _adapter(model)
    acts = intervention(plan("mlp.hook_post", "set", layers=(0,), bos=bos))
    after: dict[str, torch.Tensor] = {}

    def look(activations: torch.Tensor, hook: object) -> None:  # noqa: ARG001
        after["mlp"] = activations.clone()

    def block(act: Intervention | None) -> torch.Tensor:
        with model.bridge.hooks(fwd_hooks=[("blocks.0.mlp.out.hook_out", look)]):
            _pooled(adapter, FINAL_NORM, intervention=act)
        return after["mlp"]

    changed = (block(acts) != block(None)).any(-1)

    (batch,) = adapter.tokens.batches(SHORT, 2048)
    assert torch.equal(changed, batch.attention if bos else batch.content)


def test_embeddings_are_the_mean_of_a_hidden_state_over_a_sentences_tokens(
    tiny_model: TinyModel, oracle_of: Callable[..., Oracle]
) -> None:
    adapter, oracle = _adapter(tiny_model("qwen3")), oracle_of("qwen3")
    corpus = ParallelCorpus.read({"eng_Latn": TEXTS[:3], "deu_Latn": TEXTS[3:6]})
    acts = plan("mlp.hook_post", "set")

    for shift in (None, acts):
        how = None if shift is None else intervention(shift)
        final = embed(adapter, corpus, intervention=how)
        layers = embed_layers(adapter, corpus, layers=[1, "final"], intervention=how)
        for language, texts in zip(corpus.languages, corpus.texts, strict=True):
            wanted = oracle.responses(texts, [(FINAL_NORM, 0)], "mean", shift)
            np.testing.assert_allclose(final[language], wanted, rtol=0, atol=TOLERANCE)
            np.testing.assert_array_equal(layers["final"][language], final[language])
            wanted = oracle.responses(texts, [("hook_resid_post", 1)], "mean", shift)
            np.testing.assert_allclose(layers[1][language], wanted, rtol=0, atol=TOLERANCE)


def test_an_embedding_of_a_layer_that_is_not_there_is_refused(tiny_model: TinyModel) -> None:
    corpus = ParallelCorpus.read({"eng_Latn": ["air"], "deu_Latn": ["ant"]})

    with pytest.raises(ModelError, match=r"layer 3 does not exist; give 0\.\.2 or 'final'"):
        embed(_adapter(tiny_model("gpt2")), corpus, layer=3)


# Generation


@pytest.mark.parametrize(
    ("name", "bos"), [*zip(ARCHITECTURES, itertools.cycle([True, False]), strict=False)]
)
def test_greedy_generation_equals_plain_hugging_face(
    name: str, bos: bool, tiny_model: TinyModel, oracle_of: Callable[..., Oracle]
) -> None:
    adapter, oracle = _adapter(tiny_model(name), bos=bos), oracle_of(name, bos)
    prompts = [*PROMPTS, ""] if bos else PROMPTS
    acts = [
        plan("mlp.hook_post", "set", positions=positions, bos=bos, units=8, seed=2)
        for positions in POSITIONS
        if "mlp.hook_post" in PATHS[name]
    ] + [plan("hook_resid_post", "add", positions="generated", units=8)]

    plain = adapter.generate(prompts, max_new_tokens=6, temperature=0).texts
    assert plain == tuple(oracle.greedy(prompt, 6) for prompt in prompts)
    for act in acts:
        found = adapter.generate(
            prompts, intervention=intervention(act), max_new_tokens=6, temperature=0
        ).texts
        assert found == tuple(oracle.greedy(prompt, 6, act) for prompt in prompts)
        assert found != plain


def test_sampling_is_reproducible_and_leaves_the_global_generator_alone(
    tiny_model: TinyModel,
) -> None:
    adapter = _adapter(tiny_model("llama"))
    torch.manual_seed(3)
    before = torch.get_rng_state()

    first, again, other = (
        adapter.generate(PROMPTS, max_new_tokens=8, seed=seed).texts for seed in (5, 5, 6)
    )

    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_a_narrow_top_p_is_greedy_and_a_high_temperature_reaches_every_word(
    tiny_model: TinyModel,
) -> None:
    adapter = _adapter(tiny_model("llama"))

    narrow = adapter.generate(PROMPTS, max_new_tokens=6, top_p=1e-6).texts
    wide = adapter.generate([""] * 1000, max_new_tokens=1, temperature=1e6).texts

    assert narrow == adapter.generate(PROMPTS, max_new_tokens=6, temperature=0).texts
    assert set(wide) - {""} == set(tiny_models.WORDS)


def test_a_models_own_generation_settings_do_not_reach_the_text(tiny_model: TinyModel) -> None:
    model = tiny_model("llama")
    adapter = _adapter(model)
    plain = adapter.generate(PROMPTS, max_new_tokens=9, temperature=0).texts
    own = model.bridge.original_model.generation_config

    own.repetition_penalty = 5.0
    try:
        penalized = adapter.generate(PROMPTS, max_new_tokens=9, temperature=0).texts
        assert model.bridge.original_model.generation_config is own
    finally:
        own.repetition_penalty = None

    assert penalized == plain


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_bos_token_that_is_generated_begins_no_new_prompt(
    positions: str, shipped: Callable[[str], Any]
) -> None:
    model = tiny_models.boot("llama", shipped("llama"))
    acts = plan("mlp.hook_post", "set", positions=positions, layers=(0, 1), bos=False)
    text = Oracle("llama", model.plain, model.tokenizer, bos=True)
    _, found = text.forward(text.ids("air ant"), acts, read=[(FINAL_NORM, 0)])
    with torch.no_grad():
        for twin in (model.plain, model.bridge.original_model):
            head = next(p for n, p in twin.named_parameters() if n.startswith("lm_head"))
            head[tiny_models.SPECIAL.index(tiny_models.BOS)] = 9 * found[FINAL_NORM, 0][-1]

    prompt, new = "air ant", 5
    generated = (
        _adapter(model)
        .generate([prompt], intervention=intervention(acts), max_new_tokens=new, temperature=0)
        .texts
    )

    logits, _ = text.forward(text.ids(prompt), acts)
    assert int(logits[-1].argmax()) == tiny_models.SPECIAL.index(tiny_models.BOS)
    assert generated == (text.greedy(prompt, new, acts),)


@pytest.mark.parametrize("steer_bos", [True, False])
def test_a_prompt_without_tokens_is_bos_alone_whether_or_not_texts_have_one(
    steer_bos: bool, tiny_model: TinyModel
) -> None:
    model = tiny_model("bloom")
    acts = plan("mlp.hook_post", "set", bos=steer_bos)
    with_bos = Oracle("bloom", model.plain, model.tokenizer, bos=True)
    without = Oracle("bloom", model.plain, model.tokenizer, bos=False)

    found = (
        _adapter(model, bos=False)
        .generate(
            ["air ant bark", ""], intervention=intervention(acts), max_new_tokens=6, temperature=0
        )
        .texts
    )

    assert found == (without.greedy("air ant bark", 6, acts), with_bos.greedy("", 6, acts))


def test_a_prompt_without_tokens_needs_a_tokenizer_with_bos(tiny_model: TinyModel) -> None:
    model = tiny_model("bloom")
    bare = copy.deepcopy(model.tokenizer)
    bare.bos_token = None
    with pytest.raises(ModelError, match="prompt 1 has no tokens and the tokenizer has no BOS"):
        BridgeAdapter(model.bridge, tokenizer=bare).generate(["air", ""])


def test_more_new_tokens_than_the_model_can_take_are_refused(tiny_model: TinyModel) -> None:
    adapter = _adapter(tiny_model("gpt2"))

    adapter.generate(["air ant"], max_new_tokens=MAX_TOKENS - 3)
    with pytest.raises(ModelError, match="62 new tokens after a prompt of 3 are more than the 64"):
        adapter.generate(["air ant"], max_new_tokens=MAX_TOKENS - 2)


# Losses


@pytest.mark.parametrize(
    ("name", "context", "stride"),
    [
        *((name, 8, 3) for name in ARCHITECTURES),
        ("gpt2", 2, 1),
        ("llama", 16, 15),
        ("bloom", 64, 9),
    ],
)
def test_losses_with_any_window_equal_plain_hugging_face(
    name: str,
    context: int,
    stride: int,
    tiny_model: TinyModel,
    oracle_of: Callable[..., Oracle],
) -> None:
    texts = [TEXTS[0], TEXTS[5]]
    for bos, acts in ((True, None), (False, plan("hook_resid_post", "scale", bos=False))):
        found = _adapter(tiny_model(name), bos=bos).losses(
            texts,
            intervention=None if acts is None else intervention(acts),
            context=context,
            stride=stride,
        )
        oracle = oracle_of(name, bos)
        for text, losses in zip(texts, found, strict=True):
            assert losses.shape == (len(oracle.ids(text)) - 1,)
            wanted = oracle.losses(text, context, stride, acts)
            np.testing.assert_allclose(losses, wanted, rtol=0, atol=TOLERANCE)


def test_a_window_is_by_default_what_the_model_can_take(
    tiny_model: TinyModel, oracle_of: Callable[..., Oracle]
) -> None:
    text = sentence(100, 0)

    (losses,) = _adapter(tiny_model("gpt2")).losses([text])

    wanted = oracle_of("gpt2").losses(text, MAX_TOKENS, MAX_TOKENS // 2)
    np.testing.assert_allclose(losses, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("context", "stride", "message"),
    [
        (8, 8, "stride 8 and context 8"),
        (8, 0, "stride 0 and context 8"),
        (0, None, "stride 0 and context 0"),
        (65, 1, "context 65 is more than the 64 tokens"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(
    context: int, stride: int | None, message: str, tiny_model: TinyModel
) -> None:
    with pytest.raises(ModelError, match=message):
        _adapter(tiny_model("gpt2")).losses(["air ant"], context=context, stride=stride)


def test_a_text_too_short_for_a_loss_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="text 1 has 1 tokens; a loss needs at least two"):
        _adapter(tiny_model("gpt2"), bos=False).losses(["air ant", "air"])
