"""Reading neurons on a real NDIF server, against reading them here, by batch size."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nnsight
import torch
from bench_forward import llama_config, random_model, random_texts, saved_tokenizer
from contest import Row, medians, times_as_long
from nnsight.modeling.transformers import TransformersModel

from steer_plugin.adapters.nnsight.ndif import NDIF
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.models.adapter import Reading

from support.ndif_fixture import server_python
from support.ndif_server import NDIFServer

D_MODEL = 256
TEXTS = 300
BATCH_TOKENS = (256, 1024, 4096)
REPEATS = 3
READING = Reading("mlp.hook_post", "max")


def rows() -> list[Row]:
    """Pool all MLP neurons over texts, on the server and here, each with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tokenizer = saved_tokenizer(folder)
            model = random_model(llama_config(D_MODEL))
            model.save_pretrained(folder)
            with NDIFServer(server_python(), [folder]) as server:
                nnsight.CONFIG.API.APIKEY = server.key
                return list(_rows(folder, model, tokenizer, server.url))
    finally:
        torch.set_num_threads(threads)


def _rows(folder: Path, model: Any, tokenizer: Any, url: str) -> Iterator[Row]:
    texts = random_texts(TEXTS)
    for batch_tokens in BATCH_TOKENS:
        named = TransformersModel(str(folder), task="text-generation", tokenizer=tokenizer)
        far = TraceAdapter(named, ndif=NDIF(named, url=url), batch_tokens=batch_tokens)
        near = TraceAdapter(nnsight.NNsight(model), tokenizer=tokenizer, batch_tokens=batch_tokens)

        def read(adapter: TraceAdapter) -> int:
            batches = adapter.collect(texts, [READING])
            return sum(batch.responses[READING].nbytes for batch in batches)

        seconds = medians(
            {"remote": lambda far=far: read(far), "local": lambda near=near: read(near)},
            repeats=REPEATS,
        )
        traffic = far.ndif.traffic
        bytes_before, requests_before = traffic.received, traffic.requests
        pooled = read(far)
        received = (traffic.received - bytes_before) / pooled
        requests = traffic.requests - requests_before
        what = (
            f"{TEXTS} texts on NDIF, {batch_tokens} tokens a batch, {requests} requests, "
            f"{received:.2f} times the pooled matrix received"
        )
        yield times_as_long(what, "nnsight here", seconds["remote"], seconds["local"], "")
