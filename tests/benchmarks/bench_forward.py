"""A pooled pass over all MLP neurons, against the plain Hugging Face forward it rides on."""

import copy
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from contest import Row, medians, times_as_long, times_faster
from nnsight import NNsight
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.models.adapter import Reading

PAD, BOS = "<pad>", "<bos>"
SMALL, LARGE = 8_000, 64_000  # words
MGPT, LLAMA_3, GEMMA_3 = 100_000, 128_256, 262_144
TEXTS, TOKENS = 32, 64
BATCH_TOKENS = TEXTS * TOKENS // 2
REPEATS = 7


def rows() -> list[Row]:
    """Run blocks of real shapes, under few words and many, with and without pooling."""
    configs = {
        "GPT-2 small's blocks": [
            transformers.GPT2Config(vocab_size=size) for size in (SMALL, MGPT)
        ],
        "12 Llama blocks of 768": [llama_config(768, size) for size in (SMALL, LLAMA_3)],
        "Gemma 3 270M's blocks": [gemma_config(size) for size in (SMALL, GEMMA_3)],
    }
    return [row for shape, sizes in configs.items() for one in sizes for row in _rows(shape, one)]


def _rows(shape: str, config: Any) -> Iterator[Row]:
    vocabulary = config.vocab_size
    plain = random_model(config)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = saved_tokenizer(Path(folder), vocabulary)
        bridge = TransformerBridge.boot_transformers(
            "random", hf_model=copy.deepcopy(plain), tokenizer=tokenizer, device="cpu"
        )
    hosts = {
        "TransformerLens": BridgeAdapter(bridge, tokenizer=tokenizer, batch_tokens=BATCH_TOKENS),
        "nnsight": TraceAdapter(
            NNsight(copy.deepcopy(plain)), tokenizer=tokenizer, batch_tokens=BATCH_TOKENS
        ),
    }
    texts = random_texts(TEXTS, vocabulary)
    batches = [
        {
            "input_ids": batch.ids,
            "attention_mask": batch.attention.long(),
            "position_ids": batch.positions,
            "use_cache": False,
        }
        for batch in hosts["nnsight"].tokens.batches(texts, BATCH_TOKENS)
    ]

    def run(model: Any) -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**batch)

    reading = Reading("mlp.hook_post", "max")
    seconds = medians(
        {
            "blocks": lambda: run(plain.base_model),
            "whole": lambda: run(plain),
            "bridge": lambda: run(bridge.original_model.base_model),
            **{
                host: lambda adapter=adapter: deque(adapter.collect(texts, [reading]), maxlen=0)
                for host, adapter in hosts.items()
            },
        },
        repeats=REPEATS,
    )
    yield times_as_long(
        f"nothing read, {shape}, {vocabulary:,} words, TransformerLens",
        "forward without logits",
        seconds["bridge"],
        seconds["blocks"],
        "",
    )
    for host in hosts:
        what = f"max over all neurons, {shape}, {vocabulary:,} words, {host}"
        yield times_as_long(
            what, "forward without logits", seconds[host], seconds["blocks"], "<= 1.15"
        )
        yield times_faster(
            what,
            "forward with logits",
            seconds[host],
            seconds["whole"],
            ">= 1.5" if vocabulary >= LARGE else "",
        )


def llama_config(d_model: int, vocabulary: int = LARGE) -> Any:
    """Give a Llama of 12 blocks, as wide as it is told."""
    return transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=d_model,
        intermediate_size=4 * d_model,
        num_hidden_layers=12,
        num_attention_heads=d_model // 64,
        num_key_value_heads=d_model // 64,
    )


def gemma_config(vocabulary: int) -> Any:
    """Give the shape of Gemma 3 270M."""
    return transformers.Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=640,
        intermediate_size=2_048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
    )


def random_model(config: Any) -> Any:
    """Make a model with random weights."""
    transformers.set_seed(0)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager")
    model.config.architectures = [type(model).__name__]
    return model.eval()


def saved_tokenizer(folder: Path, size: int = LARGE) -> Any:
    vocabulary = {PAD: 0, BOS: 1, **{str(word): word for word in range(2, size)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=PAD, bos_token=BOS
    ).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def random_texts(count: int, size: int = LARGE) -> list[str]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(TOKENS // 2, TOKENS + 1, count)
    return [" ".join(map(str, generator.integers(2, size, length))) for length in lengths]
