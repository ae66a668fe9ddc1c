"""One run of a model at a time, whatever the thread: its hooks and traces are on the model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch

_LOCKS: WeakKeyDictionary[torch.nn.Module, threading.RLock] = WeakKeyDictionary()
_ASKING = threading.Lock()


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
