"""Tiny models and parallel sentences on disk, as `--model` and `--corpus` take them."""

import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from support import tiny_models

NO_CHANGE: Mapping[str, torch.Tensor | None] = MappingProxyType({})
LANGUAGES = ("eng_Latn", "deu_Latn", "fra_Latn")
MERGES = ["a i", "ai r"]


def save_model(folder: Path, architecture: str = "llama", *, weight: float | None = None) -> Path:
    """Save a tiny model and its tokenizer as `save_pretrained` does.

    Args:
        folder: made where it is missing.
        architecture: one of `tiny_models.ARCHITECTURES`.
        weight: overwrites the first row of each MLP's output, where it is given.
    """
    model = tiny_models.model(architecture)
    if weight is not None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "down_proj.weight" in name:
                    parameter[0] = weight
    model.save_pretrained(folder)
    tiny_models.tokenizer(folder, adds_bos=architecture not in tiny_models.WITHOUT_OWN_BOS)
    return folder


def save_byte_model(folder: Path, width: int = 256) -> Path:
    """Save a tiny Llama that reads bytes, so that it can read any text, and its tokenizer.

    Args:
        folder: made where it is missing.
        width: neurons of each of its three layers.
    """
    special = tiny_models.SPECIAL[:3]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{tiny_models.BOS} $A", special_tokens=[(tiny_models.BOS, 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=tiny_models.PAD,
        bos_token=tiny_models.BOS,
        eos_token=tiny_models.EOS,
    ).save_pretrained(folder)
    transformers.set_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=width,
        num_hidden_layers=3,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_corpus(path: Path, sentences: int = 24, *, seed: int = 0) -> Path:
    """Save sentences of 2 to 9 words as a wide table.

    Each language has words of its own, and a sentence is the same places in each language's list
    of words, so the languages are aligned and easy to tell apart.
    """
    chance = random.Random(seed)  # noqa: S311
    size = len(tiny_models.WORDS) // len(LANGUAGES)
    lines = ["\t".join(("id", *LANGUAGES))]
    for number in range(sentences):
        places = chance.choices(range(size), k=chance.randint(2, 9))
        texts = (
            " ".join(tiny_models.WORDS[start * size + place] for place in places)
            for start in range(len(LANGUAGES))
        )
        lines.append("\t".join((f"s{number}", *texts)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def save_gguf(path: Path, *, changed: Mapping[str, torch.Tensor | None] = NO_CHANGE) -> Path:
    """Save a tiny Llama that reads bytes as a `.gguf` file, by the format's own library.

    Args:
        path: of the file.
        changed: tensors by the file's own names: others, further ones, and None for those left out.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*tiny_models.SPECIAL, *letters, *(merge.replace(" ", "") for merge in MERGES)]
    transformers.set_seed(0)
    settings = tiny_models.config("llama")
    settings.update({"vocab_size": len(tokens), "attention_bias": False, "mlp_bias": False})
    model = transformers.AutoModelForCausalLM.from_config(settings)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_rope_dimension_count(settings.head_dim)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(MERGES)
    writer.add_pad_token_id(tokens.index(tiny_models.PAD))
    writer.add_bos_token_id(tokens.index(tiny_models.BOS))
    writer.add_eos_token_id(tokens.index(tiny_models.EOS))
    writer.add_unk_token_id(tokens.index(tiny_models.UNK))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, settings.num_hidden_layers)
    tensors = {
        names.get_name(name, try_suffixes=(".weight",)): tensor
        for name, tensor in model.state_dict().items()
    }
    for name, tensor in {**tensors, **changed}.items():
        if tensor is not None:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
