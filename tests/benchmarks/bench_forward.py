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

from steer_plugin.adapters.bridge import BridgeAdapter
from steer_plugin.adapters.trace import TraceAdapter
from steer_plugin.protocols import Reading

PAD, BOS = "<pad>", "<bos>"
SHAPES = ("GPT-2", "Llama", "Gemma 3")
LAYERS, D_MODEL, HEADS = 12, 256, 8
SMALL, LARGE = 8_000, 64_000
TEXTS, TOKENS = 64, 64
BATCH_TOKENS = 32 * TOKENS
REPEATS = 5


def forward_rows() -> list[Row]:
    """Run models of 12 blocks over the same padded batches with and without pooling."""
    return [
        row for shape in SHAPES for vocabulary in (SMALL, LARGE) for row in _rows(shape, vocabulary)
    ]


def _rows(shape: str, vocabulary: int) -> Iterator[Row]:
    plain = forward_model(shape, vocabulary, D_MODEL)
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
            **{
                host: lambda adapter=adapter: deque(adapter.collect(texts, [reading]), maxlen=0)
                for host, adapter in hosts.items()
            },
        },
        repeats=REPEATS,
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
            ">= 1.5" if vocabulary == LARGE else "",
        )


def forward_model(shape: str = "Llama", vocabulary: int = LARGE, d_model: int = D_MODEL) -> Any:
    """Make a model of 12 blocks with random weights."""
    transformers.set_seed(0)
    common = {"vocab_size": vocabulary, "attn_implementation": "eager"}
    if shape == "GPT-2":
        config: Any = transformers.GPT2Config(
            n_embd=d_model, n_layer=LAYERS, n_head=HEADS, n_positions=2 * TOKENS, **common
        )
    else:
        kind = transformers.LlamaConfig if shape == "Llama" else transformers.Gemma3TextConfig
        config = kind(
            hidden_size=d_model,
            intermediate_size=4 * d_model,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            head_dim=d_model // HEADS,
            max_position_embeddings=2 * TOKENS,
            **common,
        )
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
