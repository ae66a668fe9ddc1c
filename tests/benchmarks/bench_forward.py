"""A pooled pass over all MLP neurons, against the plain Hugging Face forward it rides on."""

import copy
import tempfile
from collections import deque
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
LAYERS, D_MODEL, D_MLP, VOCABULARY = 12, 256, 1_024, 64_000
TEXTS, TOKENS = 64, 64
BATCH_TOKENS = 32 * TOKENS
REPEATS = 7


def forward_rows() -> list[Row]:
    """Run a Llama of 12 blocks over the same padded batches with and without pooling."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = saved_tokenizer(Path(folder))
        plain = forward_model()
        bridge = TransformerBridge.boot_transformers(
            "random-llama", hf_model=copy.deepcopy(plain), tokenizer=tokenizer, device="cpu"
        )
        adapter = BridgeAdapter(bridge, tokenizer=tokenizer, batch_tokens=BATCH_TOKENS)
        traced = NNsight(copy.deepcopy(plain))
        tracing = TraceAdapter(traced, tokenizer=tokenizer, batch_tokens=BATCH_TOKENS)
    texts = random_texts(TEXTS)
    batches = [
        {
            "input_ids": batch.ids,
            "attention_mask": batch.attention.long(),
            "position_ids": batch.positions,
            "use_cache": False,
        }
        for batch in adapter.tokens.batches(texts, BATCH_TOKENS)
    ]

    def run(model: Any) -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**batch)

    reading = Reading("mlp.hook_post", "max")
    seconds = medians(
        {
            "blocks": lambda: run(plain.model),
            "pooled": lambda: deque(adapter.collect(texts, [reading]), maxlen=0),
            "traced": lambda: deque(tracing.collect(texts, [reading]), maxlen=0),
            "whole": lambda: run(plain),
        },
        repeats=REPEATS,
    )
    what = (
        f"max over {LAYERS} x {D_MLP:,} neurons, {TEXTS} texts of {TOKENS // 2} to {TOKENS} tokens"
    )
    return [
        *(
            times_as_long(
                f"{what}, {host}",
                "the plain forward without logits",
                seconds[contender],
                seconds["blocks"],
                "<= 1.15",
            )
            for contender, host in (("pooled", "TransformerLens"), ("traced", "nnsight"))
        ),
        times_faster(
            what,
            f"the plain forward with its {VOCABULARY:,} logits a token",
            seconds["pooled"],
            seconds["whole"],
            "> 1",
        ),
    ]


def forward_model() -> Any:
    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        intermediate_size=D_MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2 * TOKENS,
        attn_implementation="eager",
        architectures=["LlamaForCausalLM"],
    )
    return transformers.LlamaForCausalLM(config).eval()


def saved_tokenizer(folder: Path) -> Any:
    vocabulary = {PAD: 0, BOS: 1, **{str(word): word for word in range(2, VOCABULARY)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=PAD, bos_token=BOS
    ).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def random_texts(count: int) -> list[str]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(TOKENS // 2, TOKENS + 1, count)
    return [" ".join(map(str, generator.integers(2, VOCABULARY, length))) for length in lengths]
