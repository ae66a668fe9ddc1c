"""Chat templates: what runs is what the tokenizer writes, and the user's text alone is pooled."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import nnsight
import numpy as np
import pytest
import torch

from steer_plugin import Intervention, Reading, adapt, gather, steered
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.tokens import Tokens, tokens_for
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.errors import InterventionError, ModelError
from steer_plugin.models.adapter import Adapter

from support.oracle import Oracle
from support.plans import intervention, plan
from support.tiny_models import BOS, EOS, N_LAYERS, PAD, Tiny

SITE = "mlp.hook_post"
KEYS = [(SITE, layer) for layer in range(N_LAYERS)]
TEXTS = ["air ant bark", "sea", "owl pear pen rain river"]
# In the tiny vocabulary `key` opens a turn, `jar` the answer, and the rest says whose turn it is.
TEMPLATES = {
    "plain": (
        "{{ bos_token }}{% for m in messages %} key {{ m.role }} {{ m.content }} {{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %} key jar{% endif %}"
    ),
    "trimmed": (
        "{{ bos_token }}{% for m in messages %} key {{ m.content | trim }} lake"
        "{% endfor %}{% if add_generation_prompt %} jar{% endif %}"
    ),
    "with a system's words": (
        "{{ bos_token }} map moon {% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %} jar{% endif %}"
    ),
}
Make = Callable[..., Adapter]


def templated(tokenizer: Any, template: str | None) -> Any:
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = template
    return chatty


@pytest.fixture(scope="module", params=["transformer_lens", "nnsight", "transformers"])
def make(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Make:
    """Make an adapter of a tiny Llama on each host, with a chat template."""
    model = tiny_model("llama")
    plain = copy.deepcopy(model.plain)
    traced = nnsight.NNsight(plain)

    def adapter(template: str | None = TEMPLATES["plain"], **settings: Any) -> Adapter:
        settings = {"chat": True, "tokenizer": templated(model.tokenizer, template)} | settings
        if request.param == "transformers":
            return adapt(plain, **settings)
        if request.param == "nnsight":
            return TraceAdapter(traced, **settings)
        return BridgeAdapter(model.bridge, **settings)

    return adapter


@pytest.fixture
def oracle(tiny_model: Callable[[str], Tiny]) -> Oracle:
    model = tiny_model("llama")
    return Oracle("llama", model.plain, model.tokenizer, bos=False)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def ids_of(tokenizer: Any, messages: Any, answer: bool) -> list[int]:
    return list(
        tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=answer, return_dict=False
        )
    )


def own(tokenizer: Any, ids: list[int], text: str) -> slice:
    """Find a text's tokens among others."""
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
    (start,) = [place for place in range(len(ids)) if ids[place : place + len(wanted)] == wanted]
    return slice(start, start + len(wanted))


# Tokens


def tokens_of(tokenizer: Any, chat: bool = True) -> Tokens:
    limit = type("Limit", (), {"max_position_embeddings": None})()
    config = type("Config", (), {"get_text_config": lambda _: limit})()
    return tokens_for(tokenizer, None, config, chat)


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_runs_is_what_the_template_gives_and_the_users_text_is_content(
    name: str, answer: bool, shipped: Callable[[str], Any]
) -> None:
    tokenizer = templated(shipped("llama"), TEMPLATES[name])

    encoded = tokens_of(tokenizer).encode(TEXTS, answer=answer)

    for text, found in zip(TEXTS, encoded, strict=True):
        ids = ids_of(tokenizer, said(text), answer)
        assert found.ids == ids
        content = torch.tensor(ids)[found.content].tolist()
        assert content == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_of_a_conversation_all_that_the_user_says_is_content(
    shipped: Callable[[str], Any],
) -> None:
    tokenizer = templated(shipped("llama"), TEMPLATES["trimmed"])
    conversation = [
        {"role": "system", "content": "owl"},
        # What the user says stands in the template and in the answer as well.
        {"role": "user", "content": " key "},
        {"role": "assistant", "content": "key lake"},
        {"role": "user", "content": "lake owl"},
    ]

    (found,) = tokens_of(tokenizer, chat=False).encode([conversation])

    assert found.ids == ids_of(tokenizer, conversation, False)
    words = tokenizer.convert_ids_to_tokens(found.ids)
    assert " ".join(words) == f"{BOS} key owl lake key key lake key key lake lake key lake owl lake"
    assert found.spans == ((5, 6), (12, 14))


def test_texts_beside_conversations_are_texts(shipped: Callable[[str], Any]) -> None:
    tokenizer = templated(shipped("llama"), TEMPLATES["plain"])

    plain, chat, other = tokens_of(tokenizer, chat=False).encode(["air", said("air"), "ant"])

    assert plain.ids == tokenizer("air")["input_ids"]
    assert chat.ids == ids_of(tokenizer, said("air"), False)
    assert other.ids == tokenizer("ant")["input_ids"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("template", "prompt", "message"),
    [
        (None, said("air"), "has no chat template; give a model that was trained to chat"),
        ("{{ raise_exception('no system') }}", said("air"), "template refuses .*: no system"),
        ("{{ messages[0].content | upper }}", said("air"), "does not write what the user says"),
        ("{{ messages | length }}", said("air"), "does not write what the user says"),
        (TEMPLATES["plain"], [{"role": "user"}], "is no conversation; give a list of messages"),
        (TEMPLATES["plain"], [{"role": "system", "content": "x"}], "is no conversation"),
        (TEMPLATES["plain"], ["air"], "is no conversation"),
        (TEMPLATES["plain"], [], "is no conversation"),
        (TEMPLATES["plain"], said("air")[0], "each prompt is a conversation, a list of messages"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line(
    template: str | None, prompt: Any, message: str, shipped: Callable[[str], Any]
) -> None:
    tokens = tokens_of(templated(shipped("llama"), template), chat=False)

    with pytest.raises(ModelError, match=message) as error:
        tokens.encode([prompt])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", [PAD, EOS])
def test_a_special_token_that_the_user_writes_is_refused(
    word: str, shipped: Callable[[str], Any]
) -> None:
    tokens = tokens_of(templated(shipped("llama"), TEMPLATES["plain"]))

    for read in (lambda texts: tokens.prompts(texts, 3), lambda texts: tokens.batch_rows(texts, 9)):
        read(["air"])
        with pytest.raises(ModelError, match=f"text 0 holds '{word}', which the tokenizer reads"):
            read([f"air {word} ant"])


def test_a_word_that_the_tokenizer_lacks_is_no_special_token_that_the_user_writes(
    shipped: Callable[[str], Any],
) -> None:
    tokens = tokens_of(templated(shipped("llama"), TEMPLATES["plain"]))

    (text,) = tokens.prompts(["air zeppelin"], 3)

    assert tokens.tokenizer.unk_token_id in text.ids


def test_of_an_empty_message_no_token_is_content(shipped: Callable[[str], Any]) -> None:
    inside = "{{ bos_token }}{% for m in messages %}k{{ m.content }}ey{% endfor %}"
    tokens = tokens_of(templated(shipped("llama"), inside))

    (text,) = tokens.encode([""])

    assert not text.content.any()


# Models


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_the_users_text_alone_is_pooled(pooling: str, make: Make, oracle: Oracle) -> None:
    adapter = make(batch_tokens=24)

    found = gather(adapter, TEXTS, [Reading(SITE, pooling)])

    tokenizer: Any = adapter.tokens.tokenizer  # type: ignore[attr-defined]
    assert found.tokens.tolist() == [len(text.split()) for text in TEXTS]
    for row, text in zip(found[Reading(SITE, pooling)].numpy(), TEXTS, strict=True):
        ids = ids_of(tokenizer, said(text), False)
        _, read = oracle.forward(ids, read=KEYS)
        rows = [read[key][own(tokenizer, ids, text)] for key in KEYS]
        pooled = [
            {"mean": part.mean(0), "max": part.max(0), "last": part[-1]}[pooling]
            for part in map(np.asarray, rows)
        ]
        np.testing.assert_allclose(row, np.concatenate(pooled), rtol=0, atol=1e-5)
    # Conversations, asked of an adapter of texts, are the same.
    asked: Sequence[Any] = [said(text) for text in TEXTS]
    again = gather(make(chat=False), asked, [Reading(SITE, pooling)])[Reading(SITE, pooling)]
    np.testing.assert_allclose(again, found[Reading(SITE, pooling)], rtol=0, atol=1e-5)


WHERES = ("all", "prompt", "generated", "text", "last")


@pytest.mark.parametrize("positions", WHERES)
def test_what_is_steered_is_what_was_asked(positions: str, make: Make, oracle: Oracle) -> None:
    adapter = make(batch_tokens=40)
    act = plan(SITE, "set", layers=(0, 1), units=8)
    given = dataclasses.replace(intervention(act), positions=positions)

    written = adapter.generate(TEXTS, intervention=given, max_new_tokens=5, temperature=0)
    asked: Sequence[Any] = [said(text) for text in TEXTS]
    again = make(chat=False).generate(asked, intervention=given, max_new_tokens=5, temperature=0)

    tokenizer: Any = adapter.tokens.tokenizer  # type: ignore[attr-defined]
    assert written.ids == again.ids
    for text, new in zip(TEXTS, written.ids, strict=True):
        ids = ids_of(tokenizer, said(text), True)
        where: Any = positions
        if positions == "text":
            mine = own(tokenizer, ids, text)
            where = [mine.start <= place < mine.stop for place in range(len(ids))]
        step = dataclasses.replace(act, positions=where)
        length = len(ids)
        for number in new:
            logits, _ = oracle.forward(ids, step, length)
            assert number == int(logits[-1].argmax())
            ids.append(number)


def test_text_is_what_is_left_of_a_plain_text_without_its_template(
    make: Make, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model("llama")
    adapter, reading = make(chat=False), Reading("hook_resid_post", "mean")
    act = intervention(plan(SITE, "set", layers=(0, 1), units=8))
    found = [
        gather(adapter, TEXTS, [reading], intervention=given)[reading].numpy()
        for given in (
            dataclasses.replace(act, positions="text"),
            dataclasses.replace(act, bos=False),
        )
    ]
    losses = [
        adapter.losses(TEXTS[:1], intervention=given)[0]
        for given in (
            dataclasses.replace(act, positions="text"),
            dataclasses.replace(act, bos=False),
        )
    ]

    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*losses)
    with (
        pytest.raises(InterventionError, match="ask the verbs of adapt"),
        steered(model.bridge, dataclasses.replace(act, positions="text")),
    ):
        model.bridge(torch.tensor([[1, 5, 6]]))


def test_documents_are_read_as_they_are(make: Make) -> None:
    for text, plain in zip(make().losses(TEXTS), make(chat=False).losses(TEXTS), strict=False):
        np.testing.assert_array_equal(text, plain)


def test_it_is_recorded_and_answers_are_known_by_it(make: Make) -> None:
    chat, plain, other = make(), make(chat=False), make(TEMPLATES["trimmed"])

    assert (chat.info.chat, plain.info.chat) == (True, False)
    assert len({one.identify().fingerprint for one in (chat, other)}) == 2
    assert chat.identify().answers != plain.identify().answers


def test_a_tokenizer_without_a_template_is_refused_at_once(make: Make) -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        make(None)
    with pytest.raises(ModelError, match="chat and bos were given"):
        make(bos=True)


def test_experts_of_a_base_model_steer_its_chat_model_and_both_are_named(
    make: Make, tiny_model: Callable[[str], Tiny]
) -> None:
    model = tiny_model("llama")
    base = adapt(model.bridge, tokenizer=model.tokenizer, name="base")
    step = Intervention(
        SITE, (0,), (1,), (2.0,), provenance={"model": dataclasses.asdict(base.info)}
    )
    chat = make(name="base-chat")

    written = chat.generate(TEXTS, intervention=step + step, max_new_tokens=2)

    assert written.provenance["model"]["name"] == "base-chat"
    assert written.provenance["model"]["chat"]
    assert written.provenance["found_on"] == ["base"]
    assert written.provenance["sampling"]["seed"] == 0
