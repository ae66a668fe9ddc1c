"""Which model, and where and how it runs."""

from dataclasses import dataclass

from steer_plugin.errors import ModelError
from steer_plugin.settings.names import DTYPES, HOSTS, Dtype, Host, check_name

DEMO = "demo"
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class ModelSettings:
    """A causal language model, and what runs it.

    Attributes:
        model: a hub id, a local folder, a `.gguf` file, or "demo" for the pinned weights of the
            extra `[demo]`. An NDIF server takes a hub id, or a folder that it has itself.
        host: `transformer_lens` or `nnsight` run it here; `ndif` on a server.
        device: such as "cpu" or "cuda:0"; for `nnsight` also "auto", over all there are. An NDIF
            server decides device and dtype itself, so that only the defaults may be given.
        dtype: of the parameters.
        bos: None puts around each text what the tokenizer does, True sees to it that BOS is in
            front, False puts nothing there.
        batch_tokens: padded tokens a batch.
        threads: of the CPU; None leaves them as they are.
        ndif_url: of the server; None takes nnsight's own setting.
        ndif_patience_s: how long a server that is gone is waited for, in seconds; None for 120.

    Raises:
        ModelError: there is no such host or dtype, or two settings do not go together.
    """

    model: str
    host: Host = "transformer_lens"
    device: str = "cpu"
    dtype: Dtype = "float32"
    bos: bool | None = None
    batch_tokens: int = BATCH_TOKENS
    threads: int | None = None
    ndif_url: str | None = None
    ndif_patience_s: float | None = None

    def __post_init__(self) -> None:
        """Check the names, and what is only for a server or only for a model here."""
        check_name(self.host, HOSTS, "a host", ModelError)
        check_name(self.dtype, DTYPES, "a dtype", ModelError)
        if self.host != "ndif" and (self.ndif_url, self.ndif_patience_s) != (None, None):
            raise ModelError(
                f"an NDIF URL or patience was given for the host {self.host}; they go with the "
                "host ndif"
            )
        default = type(self)
        if self.host == "ndif" and (self.device, self.dtype) != (default.device, default.dtype):
            raise ModelError(
                f"device {self.device} and dtype {self.dtype} were given for the host ndif, where "
                "the server decides both itself; leave them out"
            )
