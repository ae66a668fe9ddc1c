"""What one run does from end to end, as its TOML file says it."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from steer_plugin.artifacts import one_line
from steer_plugin.errors import SettingsError
from steer_plugin.interventions import Operation, Positions
from steer_plugin.pooling import Pooling
from steer_plugin.scores import ScoreName
from steer_plugin.sites import SITES


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) < len(items):
        raise ValueError("Each item may be given once")
    return items


def _site(site: str) -> str:
    if site not in SITES:
        raise ValueError(f"Input should be one of {', '.join(SITES)}")
    return site


def _before_generation(positions: str) -> str:
    if positions == "generated":
        raise ValueError("Input should be all or prompt, since embeddings have no generated tokens")
    return positions


Dtype = Literal["float32", "bfloat16", "float16"]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
ONE_OR_MORE = Field(min_length=1)
DISTINCT = AfterValidator(_distinct)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=True))
class RunSettings:
    """The settings of `steer-plugin run`, and the defaults of what a file leaves out.

    Attributes:
        model: hub id, folder, `.gguf` file, or "demo".
        targets: the languages to steer towards.
        top_k: numbers of experts to set, each an intervention of its own.
        corpus: file or folder of a parallel corpus, or "everyday" for the bundled one.
        languages: which of its languages; None for all.
        sentences: how many of its ids to use, from the first; None for all.
        site: where units are read and written; one of `steer_plugin.sites.SITES`.
        pooling: how a sentence's tokens become one response.
        score: what makes an expert.
        operation: what is done to the experts; see `steer_plugin.interventions.steer`.
        value: statistic, or number, that the operation writes.
        strength: of the operation.
        positions: which tokens are steered.
        steer_bos: whether the BOS token is steered as well.
        layers: blocks to embed at beside the final norm; None takes those at one and two thirds of
            the depth.
        split_seed: of the split into the half that finds and the half that judges.
        control_seeds: one random control each.
        resamples: of the bootstrap.
        bootstrap_seed: of the bootstrap.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        dtype: of the model.
        device: that the model runs on.
        batch_tokens: padded tokens a batch.
        host: what runs the model: TransformerLens or nnsight here, or an NDIF server, which
            decides device and dtype itself.
        ndif_url: of the server; None takes nnsight's own setting.
    """

    model: str
    targets: Annotated[tuple[str, ...], ONE_OR_MORE, DISTINCT]
    top_k: Annotated[tuple[Count, ...], ONE_OR_MORE, DISTINCT]
    corpus: str = "everyday"
    languages: tuple[str, ...] | None = None
    sentences: Annotated[int, Field(ge=4)] | None = None
    site: Annotated[str, AfterValidator(_site)] = "mlp.hook_post"
    pooling: Pooling = "max"
    score: ScoreName = "auroc"
    operation: Operation = "set"
    value: str | Finite = "mean"
    strength: Finite = 1.0
    positions: Annotated[Positions, AfterValidator(_before_generation)] = "all"
    steer_bos: bool = True
    layers: Annotated[tuple[Index, ...], DISTINCT] | None = None
    split_seed: Index = 0
    control_seeds: Annotated[tuple[Index, ...], ONE_OR_MORE, DISTINCT] = (0,)
    resamples: Count = 1000
    bootstrap_seed: Index = 0
    bos: bool | None = None
    dtype: Dtype = "float32"
    device: str = "cpu"
    batch_tokens: Count = 2048
    host: Literal["transformer_lens", "nnsight", "ndif"] = "transformer_lens"
    ndif_url: str | None = None


def read_settings(path: str | Path) -> RunSettings:
    """Read a run file.

    Raises:
        SettingsError: it is not there, is not TOML, or says something that is not understood.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {one_line(error)}") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {one_line(error)}") from error
    lists: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
    }
    try:
        return RunSettings(**lists)
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise SettingsError(f"{path} cannot be run: {faults}") from error


def _fault(error: Any) -> str:
    setting, *_ = error["loc"]
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(field.name for field in fields(RunSettings))
        return f"{setting!r} is no setting; the settings are {known}"
    if error["type"] == "missing":
        return f"{setting!r} is missing; it has no default"
    message = error["msg"].removeprefix("Value error, ")
    message = message.replace("Tuple", "List").replace("tuple", "list")  # as TOML calls them
    given = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
    return f"{'.'.join(map(str, error['loc']))}: {message}, not {given!r}"
