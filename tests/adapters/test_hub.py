"""Models and adapters of a hub that answers over HTTP, as it does when something is wrong."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import peft
import pytest
import transformers

from steer_plugin import adapt
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.model import ModelSettings
from steer_plugin.settings.names import FINAL_NORM

from support import saved_models
from support.hub_server import COMMIT, Fault, HubServer, hub_server

HOSTS = ("transformer_lens", "nnsight", "transformers")
HUB_ID = "somebody/tiny"
BASE = "base_model_name_or_path"
TEXTS = ["air ant bay", "sea ship fox hill key", "owl"]
READING = Reading(FINAL_NORM, "mean")

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save_model(tmp_path_factory.mktemp("hub") / "llama")


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Give a hub with one model, that is asked in place of the public one."""
    constants = huggingface_hub.constants
    with hub_server() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "fetched"))
        # transformers keeps a client, which keeps where it asked first.
        monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
        # What fails may be asked for again after half a minute.
        quick = SimpleNamespace(**vars(time) | {"sleep": lambda _: None})
        monkeypatch.setattr("huggingface_hub.utils._http.time", quick)
        monkeypatch.setattr("huggingface_hub.file_download.time", quick)
        server.repositories[HUB_ID] = folder
        yield server


def load(model: str | Path, host: str = "transformer_lens") -> Adapter:
    return load_adapter(ModelSettings(str(model), host=host))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", HOSTS)
def test_a_model_is_fetched_once_and_its_answers_are_kept_under_its_commit(
    host: str, hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = load(HUB_ID, host)

    assert (adapter.info.name, adapter.info.revision) == (HUB_ID, COMMIT)
    responses = gather(adapter, TEXTS, [READING], keep=tmp_path / "kept")[READING]
    local = gather(load(folder, host), TEXTS, [READING])[READING]
    np.testing.assert_array_equal(responses, local)
    again = load(HUB_ID, host)
    assert set(hub.sent.values()) == {1}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load(HUB_ID, host).identify() == again.identify() == adapter.identify()


@pytest.mark.parametrize("host", HOSTS)
def test_a_model_that_went_on_is_fetched_anew_under_its_new_commit(
    host: str, hub: HubServer, tmp_path: Path
) -> None:
    before = gather(load(HUB_ID, host), TEXTS, [READING])[READING]
    hub.repositories[HUB_ID] = saved_models.save_model(tmp_path / "llama", weight=1.0)
    hub.commits[HUB_ID] = "6" * 40

    adapter = load(HUB_ID, host)

    assert adapter.info.revision == "6" * 40
    assert (gather(adapter, TEXTS, [READING])[READING] - before).abs().max() > 0.01


def test_adapters_and_their_base_are_fetched_and_both_commits_recorded(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(plain, settings).save_pretrained(tmp_path / "polite")
    config = tmp_path / "polite" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {BASE: HUB_ID}))
    hub.repositories["somebody/polite"] = tmp_path / "polite"

    info = load("somebody/polite").info

    assert (info.name, info.revision) == (f"{HUB_ID} + somebody/polite", f"{COMMIT} + {COMMIT}")
    assert set(hub.sent.values()) == {1}


@pytest.mark.usefixtures("hub")
def test_answers_of_a_model_that_the_user_fetched_are_kept(tmp_path: Path) -> None:
    plain = transformers.AutoModelForCausalLM.from_pretrained(HUB_ID)
    tokenizer = transformers.AutoTokenizer.from_pretrained(HUB_ID)
    adapter = adapt(plain, tokenizer=tokenizer)

    kept = [gather(adapter, TEXTS, [READING], keep=tmp_path)[READING] for _ in range(2)]

    np.testing.assert_array_equal(*kept)
    assert len(list(tmp_path.glob("*/about.json"))) == 1


WEIGHTS = "model.safetensors"
REFUSALS = {
    "no such model": (Fault(404, {"X-Error-Code": "RepoNotFound"}), "not a valid model ident"),
    "no such model, or private": (
        Fault(401, {"X-Error-Code": "RepoNotFound"}),
        "not a valid model .* private repository",
    ),
    "gated": (Fault(403, {"X-Error-Code": "GatedRepo"}), "access a gated repo.* access to it"),
    "not allowed": (Fault(403), r"cannot be asked \(403 Forbidden.* token has the correct perm"),
    "disabled": (
        Fault(403, {"X-Error-Message": "Access to this resource is disabled."}),
        r"cannot be asked \(403 .*Access to this resource is disabled",
    ),
    "too many requests": (Fault(429), r"cannot be asked \(429 Too Many Requests"),
    "the hub fails": (Fault(500), r"cannot be asked \(.*500 Internal Server Error"),
    "a proxy fails": (Fault(502), r"cannot be asked \(.*502 Bad Gateway"),
    "no hub is there": (
        Fault(200, of="config.json", anonymous=True),
        r"couldn't connect .*\(.*(served by a Hugging Face Hub|locate the file on the Hub)",
    ),
    "weights are not sent": (Fault(503, of=WEIGHTS), "not appear to have .* model.safetensors"),
    "weights are cut short": (
        Fault(200, share=0.5, of=WEIGHTS),
        r"Can't load the model .*\(peer closed connection",
    ),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_hub_does_not_give_is_refused_in_a_line(
    case: str, host: str, hub: HubServer
) -> None:
    hub.faults[HUB_ID], reason = REFUSALS[case]

    with pytest.raises(ModelError, match=f"cannot load the model '{HUB_ID}': .*{reason}") as error:
        load(HUB_ID, host)

    assert "\n" not in str(error.value)
