"""The only thing an analysis knows of a model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.generation import Generation, Prompt
from steer_plugin.settings.names import Pooling

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reading:
    """What to read from each text: one site, one pooling.

    Attributes:
        site: one of `steer_plugin.settings.parts.SITES`.
        pooling: how tokens become one response.
        layers: the block indices to read, ascending; None for all.
    """

    site: str
    pooling: Pooling
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Which model answered, as every saved result records it.

    Attributes:
        name: hub id, folder or file that the model was loaded from.
        revision: commit or content hash where known, else `UNKNOWN`.
        host: what held it, such as "transformer_lens 4.3.0".
        n_layers: number of blocks.
        d_model: width of the residual stream.
        dtype: of the parameters, and what quantised weights are held as: `float32, weights int8`.
        bos: whether a BOS token is put before each text.
        device: where the weights are, such as "cpu" or "cuda:0, cuda:1"; empty for a model on a
            server.
        fingerprint: a hash of the weights, tokenizer, hooks, configuration and versions, where
            `Adapter.identify` was asked. Of a model on a server, of tokenizer and versions alone.
        answers: a hash of what it answered then to a fixed text, to the last bit, so that it hangs
            on the device as well; empty for a model on a server.
        chat: whether each text is what the user says, in the tokenizer's chat template.
    """

    name: str
    revision: str
    host: str
    n_layers: int
    d_model: int
    dtype: str
    bos: bool
    device: str = ""
    fingerprint: str = ""
    answers: str = ""
    chat: bool = False

    @property
    def computes_in(self) -> torch.dtype:
        """The dtype of its activations; float32 where all that is known is how weights are held."""
        dtype = getattr(torch, self.dtype.partition(",")[0], None)
        if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
            return dtype
        return torch.float32


@dataclass(frozen=True)
class Batch:
    """Responses of some of the texts.

    Attributes:
        rows: which texts, as indices into the list that was given.
        responses: for each reading, its layers side by side; float32, or float64 for a float64
            model, on the CPU.
        tokens: how many tokens of each text the responses are pooled over.
    """

    rows: Int[np.ndarray, " text"]
    responses: Mapping[Reading, Float[Tensor, "text unit"]]
    tokens: Int[np.ndarray, " text"]


@runtime_checkable
class Adapter(Protocol):
    """A model on some host, behind a few verbs."""

    @property
    def info(self) -> ModelInfo:
        """Say which model this is, by what does not change while it is held."""
        ...

    def identify(self) -> ModelInfo:
        """Say which model would answer just now: `info` with hashes of all that would.

        What is kept is found again by this. It costs a fraction of one batch, and passes one short
        text through the model and whatever hooks are set on it.
        """
        ...

    def space(self, site: str, layers: tuple[int, ...] | None = None) -> UnitSpace:
        """Number the units that the model has at a site.

        Raises:
            SiteError: the model lacks the site, or it holds something else under that name.
        """
        ...

    def check_plan(self, intervention: AnyPlan | None) -> None:
        """Refuse, before anything runs, a plan that names what the model lacks.

        Raises:
            InterventionError: it is no plan.
            SiteError: the model lacks the site, a layer or a unit, or a head has other values.
        """
        ...

    def batches(self, texts: Sequence[Prompt]) -> list[Int[np.ndarray, " text"]]:
        """Give the rows of each batch that `collect` makes of these texts, in its order.

        Whole batches given to `collect` without the others are cut into the same batches again, so
        that each response is the same to the last bit, as long as their texts are in ascending
        order of rows, or one batch after another.

        Raises:
            ModelError: a text has no tokens, or too many, or there is no chat template.
        """
        ...

    def collect(
        self,
        texts: Sequence[Prompt],
        readings: Sequence[Reading],
        *,
        intervention: AnyPlan | None = None,
    ) -> Iterator[Batch]:
        """Run the model over texts and pool each reading where the activations are.

        Of a conversation, what the user says is pooled.

        The batches come in the host's order, each text in exactly one of them. No logits are
        computed.
        """
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        rows: Sequence[int] | None = None,
        intervention: AnyPlan | None = None,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int | Sequence[int] = 0,
        told: Callable[[int, str], None] | None = None,
        progress: str | None = None,
    ) -> Generation:
        """Continue prompts, whatever the model's own generation settings but its end tokens.

        They are cut into batches of similar length. Each has random numbers of its own, from the
        seed and its place, so that what it is continued with depends on no other, on no batch and
        on no host, as far as the model's own rounding does not.

        Args:
            prompts: texts to continue, or conversations to answer, each by the tokenizer's own chat
                template. A mask among a plan's positions has a row for each.
            rows: which of them, by their places; None for all.
            intervention: what is done to the model meanwhile.
            max_new_tokens: at most so many tokens more.
            temperature: of the sampling; at 0 the likeliest token is next.
            top_p: sample from the likeliest tokens that together have this probability.
            seed: of the sampling, from 0; or one for each prompt, whose place is then that among
                the prompts of its seed.
            told: told which prompt, by its place, is continued by what, as soon as it is written;
                on a server, a batch at a time. The pieces together are the texts.
            progress: what to call the work in a bar on stderr; None shows none.

        Returns:
            What was written, in the order of the prompts, or of `rows`.

        Raises:
            SiteError: the model lacks the intervention's site or one of its units.
            ModelError: a prompt is empty and the model has no BOS token, prompt and new tokens
                together are more than the model can take, or there is no chat template.
        """
        ...

    def losses(
        self,
        texts: Sequence[str],
        *,
        intervention: AnyPlan | None = None,
        context: int | None = None,
        stride: int | None = None,
    ) -> list[Float[np.ndarray, " token"]]:
        """Give each text's negative log-likelihood a token, in nats, each token scored once.

        A text is read as it is, never as what a user says to a chat model.
        """
        ...
