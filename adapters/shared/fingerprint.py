"""What runs just now, as hashes: weights, tokenizer, hooks, versions, and the answers to a text."""

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from steer_plugin.adapters.shared.dtypes import dtype_of
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.columns import Column
from steer_plugin.models.adapter import Adapter, ModelInfo, Reading
from steer_plugin.models.provenance import versions
from steer_plugin.settings.names import FINAL_NORM

PACKAGES = ("steer-plugin", "torch", "transformers", "tokenizers")
# Several scripts, and few enough tokens for any model.
TEXT = "The 2 cats sat; кот спал, 猫は寝た."
SITES = (FINAL_NORM, "hook_resid_post")
# Words of 8 bytes; a tensor's bits are summed by rows and by columns of these.
ROW = 4096
WORDS = 1000  # of a vocabulary, what is looked at each time
HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)

# torch has one number of threads for the process.
_ON_ONE_THREAD = threading.Lock()
_SERIALISED: "WeakKeyDictionary[Any, _Serialised]" = WeakKeyDictionary()


@dataclass(frozen=True)
class _Serialised:
    """The hash of a tokenizer, and the cheap parts of it that it stands for."""

    backend: Any
    state: str
    hash: str


def identified(adapter: Adapter, model: Any, tokenizer: Any) -> ModelInfo:
    """Say which model answers just now; see `Adapter.identify`.

    Args:
        adapter: of the model.
        model: the torch module that runs here; None where a server runs it.
        tokenizer: the tokenizer in use.
    """
    made_by = {"versions": versions(PACKAGES)}
    if model is None:
        held = {"tokenizer": _tokenizer_hash(tokenizer), **made_by}
        return replace(adapter.info, fingerprint=_hash(held))
    before = dict(_hooks(model))
    answers = _answers(adapter)
    # After a pass, since hosts wire hooks of their own during the first. What a hook counts or
    # records as the text passes is not what it does.
    hooks = {place: _steady(before.get(place, hook), hook) for place, hook in _hooks(model)}
    held = {
        **contents(model, tokenizer),
        **made_by,
        "hooks": hooks,
        "matmul": torch.get_float32_matmul_precision(),
    }
    return replace(
        adapter.info, dtype=dtype_of(model), fingerprint=_hash(held), answers=_hash(answers)
    )


def contents(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Say what a model holds: weights, configuration, tokenizer.

    Args:
        model: a torch module.
        tokenizer: the tokenizer in use.

    Returns:
        Lists, dictionaries and text, with hashes for what is large; equal where all of it is.
    """
    return {
        "weights": dict(_weights(model)),
        "config": _config(model),
        "tokenizer": _tokenizer_hash(tokenizer),
    }


def _answers(adapter: Adapter) -> list[str]:
    """Run one text alone on one thread, so that neither batches nor threads move a bit."""
    answers = []
    with _ON_ONE_THREAD:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for site in SITES:
                layers = None if site == FINAL_NORM else (adapter.info.n_layers - 1,)
                reading = Reading(site, "mean", layers)
                try:
                    (batch,) = adapter.collect([TEXT], [reading])
                except (SiteError, ModelError) as error:
                    # A refusal is an answer, too; whoever runs a pass is told it.
                    answers.append(str(error))
                    continue
                answers.append(batch.responses[reading].numpy().tobytes().hex())
                break
        finally:
            torch.set_num_threads(threads)
    return answers


def _weights(model: Any) -> Iterator[tuple[str, list[Any]]]:
    for tensors in (model.named_parameters(), model.named_buffers()):
        for name, tensor in tensors:
            yield name, _described_tensor(tensor)


def _described_tensor(tensor: Shaped[Tensor, "*shape"]) -> list[Any]:
    about = [type(tensor).__name__, str(tensor.dtype), list(tensor.shape)]
    if tensor.is_meta:
        return about
    try:
        return [*about, _checksum(tensor)]
    except (RuntimeError, NotImplementedError, TypeError):
        # Quantisers have tensors that no integers can be read from; the answers see those.
        return about


def _checksum(tensor: Shaped[Tensor, "*shape"]) -> str:
    """Sum the bits as whole numbers: exact in any order, on any device, by any number of threads.

    Every change of one word is seen, and words that change places, since they are summed by rows
    and by columns.
    """
    flat = tensor.detach().reshape(-1)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    content = flat.contiguous().view(torch.uint8)
    whole = len(content) // (8 * ROW) * 8 * ROW
    words = content[:whole].view(torch.int64).view(-1, ROW)
    parts = (words.sum(1), words.sum(0), content[whole:])
    return hashlib.sha256(b"".join(part.cpu().numpy().tobytes() for part in parts)).hexdigest()


def _hooks(model: Any) -> Iterator[tuple[str, Any]]:
    """Describe what is hung on the modules, and the methods that stand for their own."""
    for name, module in model.named_modules():
        for table in HOOKS:
            for number, hook in enumerate(getattr(module, table, {}).values()):
                yield f"{name} {table} {number}", _described(hook)
        if "forward" in vars(module):
            yield f"{name} forward", _described(vars(module)["forward"])


def _described(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """Say what a hook does, as far as its code and what it holds tell; of other objects the kind.

    Returns:
        Lists and text.
    """
    kind = type(value)
    if id(value) in inside:
        return "itself"
    within = partial(_described, inside=(*inside, id(value)))
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return repr(value)
    if isinstance(value, Tensor):
        return _described_tensor(value)
    parts: Iterable[Any] = ()
    if kind in (tuple, list):
        parts = value
    elif kind in (set, frozenset):
        parts = sorted(map(repr, value))
    elif kind is dict:
        parts = sorted(value.items(), key=repr)
    elif kind in (np.ndarray, Column):
        array = np.asarray(value)
        parts = (str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest())
    elif kind is FunctionType:
        closure = [_content(cell) for cell in value.__closure__ or ()]
        parts = (value.__module__, value.__qualname__, value.__code__, value.__defaults__, closure)
    elif kind is CodeType:
        parts = (value.co_code, value.co_consts, value.co_names)
    elif kind is MethodType:
        parts = (value.__func__, value.__self__)
    elif kind is partial:
        parts = (value.func, value.args, value.keywords)
    elif is_dataclass(kind) and value.__dataclass_params__.frozen:
        parts = [getattr(value, field.name) for field in fields(kind)]
    return [f"{kind.__module__}.{kind.__qualname__}", *map(within, parts)]


def _steady(before: Any, after: Any) -> Any:
    """Keep what two descriptions of one hook have alike."""
    if before == after:
        return after
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [_steady(*both) for both in zip(before, after, strict=True)]
    return "changes"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def _config(model: Any) -> list[str]:
    config = getattr(model, "config", None)
    if config is None:
        return []
    held = config.to_dict()
    # The same weights may lie elsewhere.
    held.pop("_name_or_path", None)
    attention = str(getattr(config, "_attn_implementation", None))
    return [attention, json.dumps(held, sort_keys=True, default=str)]


def _tokenizer_hash(tokenizer: Any) -> str:
    """Hash a tokenizer's own serialisation.

    A large vocabulary takes seconds, so it is serialised anew only where another part of it has
    changed, its size, some of its words or the ids of a text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = _hash([*_tokenizer_parts(tokenizer, backend), tokenizer(TEXT)["input_ids"]])
    serialised = _SERIALISED.get(tokenizer)
    if serialised is None or serialised.backend is not backend or serialised.state != state:
        content = tokenizer.get_vocab() if backend is None else backend.to_str()
        serialised = _Serialised(backend, state, _hash([state, content]))
        _SERIALISED[tokenizer] = serialised
    return serialised.hash


def _tokenizer_parts(tokenizer: Any, backend: Any) -> Iterator[Any]:
    yield type(tokenizer).__qualname__
    yield len(tokenizer)
    yield tokenizer.convert_ids_to_tokens(range(0, len(tokenizer), len(tokenizer) // WORDS + 1))
    yield tokenizer.bos_token_id
    yield getattr(tokenizer, "chat_template", None)
    yield sorted(map(repr, tokenizer.added_tokens_decoder.items()))
    for name in ("normalizer", "pre_tokenizer", "post_processor"):
        part = getattr(backend, name, None)
        yield None if part is None else part.__getstate__().hex()


def _hash(content: Any) -> str:
    """Name plain data by the first 64 bits of a SHA-256, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
