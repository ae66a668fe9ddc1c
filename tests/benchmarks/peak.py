"""A process of its own: find experts in so many texts, and print how much memory that took."""

import json
import os
import resource
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.append(str(Path(__file__).parent))

import transformers
from bench_forward import saved_tokenizer
from peak_memory import peak_bytes
from pydantic import ByteSize, TypeAdapter
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin import Budget, ParallelCorpus, find_experts
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter

LANGUAGES = ("deu_Latn", "eng_Latn")
WORDS = 8


def resident() -> int:
    """Give the bytes that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def sentence(language: int, row: int) -> str:
    """Give a sentence of its own."""
    first = language * 7_919 + row * 104_729
    return " ".join(str(2 + (first + word) % 60_000) for word in range(WORDS))


def main(texts: int, folder: Path, memory: str) -> None:
    """Find in a Llama that is cheap to run and has many neurons."""
    tokenizer = saved_tokenizer(folder)
    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64_000,
        hidden_size=64,
        intermediate_size=4_096,
        num_hidden_layers=9,
        num_attention_heads=4,
        num_key_value_heads=4,
        architectures=["LlamaForCausalLM"],
    )
    bridge = TransformerBridge.boot_transformers(
        "random-llama",
        hf_model=transformers.LlamaForCausalLM(config).eval(),
        tokenizer=tokenizer,
        device="cpu",
    )
    adapter = BridgeAdapter(bridge, tokenizer=tokenizer, revision="random")
    sentences = texts // len(LANGUAGES)
    corpus = ParallelCorpus.read(
        {
            language: [sentence(place, row) for row in range(sentences)]
            for place, language in enumerate(LANGUAGES)
        }
    )
    adapter.space("mlp.hook_post")
    before = resident()
    size = int(TypeAdapter(ByteSize).validate_python(memory))
    find_experts(adapter, corpus, budget=Budget(cache=folder / str(texts), memory=size))
    peak = peak_bytes()
    print(json.dumps({"beyond_model": peak - before, "before": before, "peak": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
