"""A host's copy of a tokenizer: its own, but for the words that nobody changes."""

import gc
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import models, processors

from steer_plugin.adapters.shared.shipped_tokenizer import (
    copied_for_bridge,
    copied_tokenizer,
    puts_bos,
    read_tokenizer,
    shipped_tokenizer,
)
from steer_plugin.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Save a tokenizer of a kind that keeps its words and merges."""
    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}
    gemma = transformers.GemmaTokenizer(vocab=words, merges=[("a", "b")])
    gemma.save_pretrained(tmp_path)
    return tmp_path


def test_a_host_may_change_its_copy(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)

    def state() -> tuple[Any, ...]:
        side, settings = tokenizer.padding_side, tokenizer.init_kwargs.copy()
        return tokenizer(["ab", "ba ab"]), tokenizer.get_vocab(), settings, side

    wanted = state()
    copied = copied_tokenizer(tokenizer)
    assert copied(["ab", "ba ab"]) == wanted[0]
    copied.add_special_tokens({"additional_special_tokens": ["<new>"]})
    copied.add_tokens(["abba"])
    copied.padding_side = {"left": "right", "right": "left"}[copied.padding_side]
    copied.init_kwargs["add_bos_token"] = False
    copied(["ab", "a"], padding=True, truncation=True, max_length=1)

    assert state() == wanted
    assert len(copied) == len(tokenizer) + 2


def test_words_and_merges_are_not_copied(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)
    copied = copied_tokenizer(tokenizer)

    assert copied._vocab is tokenizer._vocab
    assert copied._merges is tokenizer._merges
    assert copied._tokenizer is not tokenizer._tokenizer


def test_a_tokenizer_without_them_is_copied_too() -> None:
    words = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    copied = copied_tokenizer(fast)
    copied.add_tokens(["b"])

    assert (len(fast), len(copied)) == (2, 3)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_afterwards_as_before(
    enabled: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, read, meanwhile = gc.isenabled(), transformers.AutoTokenizer.from_pretrained, []

    def watched(*given: Any, **settings: Any) -> Any:
        meanwhile.append(gc.isenabled())
        return read(*given, **settings)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", watched)
    try:
        (gc.enable if enabled else gc.disable)()
        read_tokenizer(folder)
        assert gc.isenabled() == enabled
        assert meanwhile == [False]
        with pytest.raises(ModelError, match="cannot load the tokenizer"):
            shipped_tokenizer(str(tmp_path / "none"))
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize(
    ("template", "puts"),
    [("<s> $A", True), ("$A", False), ("$A <s>", False), ("<s> $A </s>", False)],
)
def test_a_bridge_is_told_of_bos_where_it_stands_before_a_text_and_nothing_behind(
    template: str, puts: bool
) -> None:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}
    words = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>")

    copied = copied_for_bridge(tokenizer)

    assert puts_bos(tokenizer) == puts
    assert copied.init_kwargs.get("add_bos_token", False) == puts
    assert "add_bos_token" not in tokenizer.init_kwargs
