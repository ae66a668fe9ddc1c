"""Which model, and where and how it runs."""

from dataclasses import dataclass
from typing import Final

from steer_plugin.errors import ModelError
from steer_plugin.settings.names import (
    DTYPES,
    HOSTS,
    QUANTIZE,
    Dtype,
    Host,
    Quantize,
    check_name,
)

DEMO = "demo"
AUTO: Final = "auto"
ADAPTER_CONFIG = "adapter_config.json"
"""What PEFT says of adapters, in their folder: the hub id of their base, for one."""

BATCH_TOKENS = 2048


@dataclass(frozen=True)
class ModelSettings:
    """A causal language model, and what runs it.

    Attributes:
        model: a hub id or a local folder (of a model, or of adapters as PEFT saves them), a `.gguf`
            file, or "demo" for the pinned weights of the extra `[demo]`. An NDIF server takes a hub
            id, or a folder that it has itself.
        host: `transformer_lens`, `nnsight` or plain `transformers` run it here; `ndif` on a server.
        device: such as "cpu" or "cuda:0"; "auto" takes the accelerator there is, all where there
            are several, or else the CPU; how accelerate spreads a model ("balanced", "sequential")
            is known too. An NDIF server decides device, dtype and quantisation itself, so that only
            the defaults may be given.
        dtype: of the parameters; "auto" is the checkpoint's own on an accelerator (float32 for a
            `.gguf` file, which has none) and float32 on the CPU.
        quantize: weights are held as "nf4" or "int8", by bitsandbytes; None as they come.
        bos: None puts around each text what the tokenizer does, True sees to it that BOS is in
            front, False puts nothing there.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template, which
            then says whether there is BOS.
        threads: of the CPU; None leaves them as they are.
        ndif_url: of the server; None takes nnsight's own setting.
        ndif_patience_s: how long a server that is gone is waited for, in seconds; None for 120.

    Raises:
        ModelError: there is no such host or dtype, or two settings do not go together.
    """

    model: str
    host: Host = "transformer_lens"
    device: str = AUTO
    dtype: Dtype = AUTO
    quantize: Quantize | None = None
    bos: bool | None = None
    batch_tokens: int = BATCH_TOKENS
    chat: bool = False
    threads: int | None = None
    ndif_url: str | None = None
    ndif_patience_s: float | None = None

    def __post_init__(self) -> None:
        """Check the names, and what is only for a server or only for a model here."""
        check_name(self.host, HOSTS, "a host", ModelError)
        check_name(self.dtype, DTYPES, "a dtype", ModelError)
        if self.chat and self.bos is not None:
            raise ModelError(
                "chat and bos were given; a chat template says whether there is BOS, so leave bos "
                "out"
            )
        if self.host != "ndif" and (self.ndif_url, self.ndif_patience_s) != (None, None):
            raise ModelError(
                f"an NDIF URL or patience was given for the host {self.host}; they go with the "
                "host ndif"
            )
        if self.quantize is not None:
            check_name(self.quantize, QUANTIZE, "a quantisation", ModelError)
        placed = {"device": self.device, "dtype": self.dtype, "quantize": self.quantize or AUTO}
        chosen = [f"{name} {value}" for name, value in placed.items() if value != AUTO]
        if self.host == "ndif" and chosen:
            raise ModelError(
                f"{' and '.join(chosen)} given for the host ndif, where the server decides that "
                "itself; leave it out"
            )
        in_fewer_bits = self.model == DEMO or self.model.lower().endswith(".gguf")
        if self.quantize is not None and in_fewer_bits:
            raise ModelError(
                f"quantize {self.quantize} was given for {self.model}, whose weights come "
                "quantised; leave it out"
            )
