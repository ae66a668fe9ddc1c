"""One run of a model at a time, whatever the thread: its hooks and traces are on the model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch

from steer_plugin.errors import InterventionError

_LOCKS: WeakKeyDictionary[torch.nn.Module, threading.RLock] = WeakKeyDictionary()
_ASKING = threading.Lock()
# The threads that are in a block in which a model is steered, once for each block.
_STEERED: WeakKeyDictionary[torch.nn.Module, list[int]] = WeakKeyDictionary()


@contextmanager
def alone(module: torch.nn.Module) -> Iterator[None]:
    """Wait until no other thread runs a model, and let none while the block lasts.

    Args:
        module: the model, which adapters may share.
    """
    with _ASKING:
        lock = _LOCKS.setdefault(module, threading.RLock())
    with lock:
        yield


@contextmanager
def in_one_thread(module: torch.nn.Module, name: str) -> Iterator[None]:
    """Refuse a block in which a model is steered beside one of another thread.

    Args:
        module: the model, whose hooks act whoever calls it.
        name: of the model.

    Raises:
        InterventionError: another thread is in such a block.
    """
    here = threading.get_ident()
    with _ASKING:
        threads = _STEERED.setdefault(module, [])
        if any(thread != here for thread in threads):
            raise InterventionError(
                f"another thread is in a `with steered` block of {name}, and each would steer the "
                "other's passes; use the blocks one after another, or the verbs of adapt(model), "
                "which take turns"
            )
        threads.append(here)
    try:
        yield
    finally:
        with _ASKING:
            threads.remove(here)
