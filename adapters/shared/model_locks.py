"""One run of a model at a time, whatever the thread: its hooks and traces are on the model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch

_LOCKS: WeakKeyDictionary[torch.nn.Module, threading.RLock] = WeakKeyDictionary()
_ASKING = threading.Lock()
# All models in a process draw from one generator, which a run seeds.
_SAMPLING = threading.RLock()


@contextmanager
def alone(module: torch.nn.Module, *, sampling: bool = False) -> Iterator[None]:
    """Wait until no other thread runs a model, and let none while the block lasts.

    Args:
        module: the model, which adapters may share.
        sampling: whether the run draws random numbers; then no other that does so runs meanwhile,
            of any model.
    """
    with _ASKING:
        lock = _LOCKS.setdefault(module, threading.RLock())
    if not sampling:
        with lock:
            yield
        return
    with _SAMPLING, lock:
        yield
