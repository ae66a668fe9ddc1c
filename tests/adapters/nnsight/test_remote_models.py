"""A model that only an NDIF server holds: the same numbers, also when things go wrong."""

import dataclasses
import itertools
import json
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest

from steer_plugin import ExpertTable, ParallelCorpus, adapt, find_experts
from steer_plugin.activations.pooling import ACTIVE
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.nnsight.ndif import NDIF
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.cli.main import run_command
from steer_plugin.errors import ModelError, SiteError
from steer_plugin.interventions.intervention import Intervention
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import FINAL_NORM
from steer_plugin.settings.parts import OPERATIONS, POOLINGS

from support import command_line, ndif_fixture, saved_models, tiny_models
from support.covering import pairwise
from support.ndif_server import NDIFServer
from support.oracle import PATHS, Oracle
from support.plans import POSITIONS, intervention, plan
from support.same_answers import assert_same_but_for_rounding

TOLERANCE = 1e-5
NAMES = ("llama", "gpt2")
NEURONS = Reading("mlp.hook_post", "max")
EMBEDDING = Reading(FINAL_NORM, "mean")


def sentence(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(tiny_models.WORDS, k=words))  # noqa: S311


TEXTS = [sentence(words, seed) for seed, words in enumerate((4, 1, 40, 9, 2))]
MANY = [sentence(6, seed) for seed in range(300)]
PROMPTS = [sentence(words, 40 + words) for words in (2, 6, 1)]


@pytest.fixture(autouse=True)
def connected(ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ndif_fixture.connect(ndif, monkeypatch)
    for model in ndif.models:
        ndif.ready(model)


@pytest.fixture(scope="module")
def local_of(ndif: NDIFServer) -> Callable[[str], BridgeAdapter]:
    """Give the same weights on TransformerLens."""
    made: dict[str, Any] = {}
    for name, folder in zip(NAMES, ndif.models, strict=True):
        made[name] = load_adapter(str(folder))
    return made.__getitem__


def folder_of(ndif: NDIFServer, name: str) -> Path:
    return ndif.models[NAMES.index(name)]


def remote(folder: Path, *, batch_tokens: int = 256, **settings: Any) -> TraceAdapter:
    model = ndif_fixture.remote_model(folder)
    server = NDIF(model, **settings)
    return TraceAdapter(model, ndif=server, batch_tokens=batch_tokens)


def neurons(adapter: Adapter, texts: list[str], given: Intervention | None = None) -> np.ndarray:
    return gather(adapter, texts, [NEURONS], intervention=given)[NEURONS].numpy()


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


# The same numbers


@pytest.mark.parametrize("name", NAMES)
def test_every_site_and_pooling_is_what_transformer_lens_gives(
    name: str, ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    readings = [Reading(site, pooling) for site in PATHS[name] for pooling in (*POOLINGS, ACTIVE)]
    far = adapt(ndif_fixture.remote_model(folder_of(ndif, name)), remote=True, ndif_url=ndif.url)

    found, wanted = (gather(adapter, TEXTS, readings) for adapter in (far, local_of(name)))

    for reading in readings:
        assert_close(found[reading].numpy(), wanted[reading].numpy())
    assert far.info == dataclasses.replace(
        local_of(name).info,
        name=str(folder_of(ndif, name)),
        revision="unknown",
        host=f"nnsight {nnsight.__version__} on NDIF",
        device="",
    )


@pytest.mark.parametrize(
    ("operation", "name"), [*zip(OPERATIONS, itertools.cycle(NAMES), strict=False)]
)
def test_embeddings_after_each_operation_are_those_of_the_oracle(
    name: str, operation: str, ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    chosen = plan("mlp.hook_post", operation)
    far = remote(folder_of(ndif, name))

    found = gather(far, TEXTS, [EMBEDDING], intervention=intervention(chosen))[EMBEDDING].numpy()

    oracle = Oracle(name, tiny_models.model(name), far.tokens.tokenizer, bos=True)
    assert_close(found, oracle.responses(TEXTS, [(FINAL_NORM, 0)], "mean", chosen))
    near = gather(local_of(name), TEXTS, [EMBEDDING], intervention=intervention(chosen))
    assert_close(found, near[EMBEDDING].numpy())


@pytest.mark.parametrize(
    ("positions", "change", "name"),
    pairwise(POSITIONS, [("hook_resid_post", "add"), ("mlp.hook_post", "affine")], NAMES),
)
def test_texts_under_intervention_are_those_of_transformer_lens(
    positions: str,
    change: tuple[str, str],
    name: str,
    ndif: NDIFServer,
    local_of: Callable[[str], BridgeAdapter],
) -> None:
    # At d_model units, all of the residual stream: a steering vector.
    chosen = plan(*change, units=tiny_models.D_MODEL, positions=positions, strength=1.0)
    given = intervention(chosen)
    far = remote(folder_of(ndif, name))

    for temperature in (0.0, 1.0):
        settings: dict[str, Any] = {
            "intervention": given,
            "max_new_tokens": 5,
            "temperature": temperature,
            "seed": 5,
        }
        found, wanted = (one.generate(PROMPTS, **settings).texts for one in (far, local_of(name)))
        assert found == wanted


def test_losses_are_those_of_transformer_lens(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    given = intervention(plan("mlp.hook_post", "set"))
    texts = [TEXTS[2], TEXTS[3]]
    far = remote(folder_of(ndif, "llama"))

    for found, wanted in zip(
        *(
            adapter.losses(texts, intervention=given, context=16, stride=8)
            for adapter in (far, local_of("llama"))
        ),
        strict=True,
    ):
        assert_close(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_experts_are_the_same(
    name: str, ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    corpus = ParallelCorpus.read(
        {
            language: [f"{word} {sentence(5, number)}" for number, word in enumerate(words)]
            for language, words in (
                ("eng_Latn", tiny_models.WORDS[:20]),
                ("deu_Latn", tiny_models.WORDS[20:40]),
            )
        }
    )

    adapters = remote(folder_of(ndif, name)), local_of(name)
    found, wanted = (find_experts(adapter, corpus) for adapter in adapters)

    assert_same_but_for_rounding((found, wanted), adapters, corpus.labelled()[0], NEURONS)


def test_a_server_that_runs_strangers_in_a_sandbox_answers_the_same(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    ndif_fixture.connect(ndif, monkeypatch, key=ndif.strangers_key)
    given = intervention(plan("mlp.hook_post", "set"))
    far = remote(folder_of(ndif, "llama"), batch_tokens=2048)

    found = neurons(far, TEXTS, given)
    texts = far.generate(PROMPTS, intervention=given, max_new_tokens=4, temperature=0).texts

    assert_close(found, neurons(local_of("llama"), TEXTS, given))
    assert (
        texts
        == local_of("llama")
        .generate(PROMPTS, intervention=given, max_new_tokens=4, temperature=0)
        .texts
    )


# What goes over the wire


def test_what_comes_back_is_hardly_more_than_the_pooled_matrix(ndif: NDIFServer) -> None:
    far = remote(folder_of(ndif, "llama"), batch_tokens=2048)
    before = far.ndif.traffic.received

    found = neurons(far, MANY)

    assert found.nbytes == 4 * 300 * 3 * 24
    received = far.ndif.traffic.received - before
    assert found.nbytes / 4 < received <= 1.2 * found.nbytes


def test_batches_ride_in_few_requests(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    far = remote(folder_of(ndif, "llama"), batch_tokens=32)
    batches = len(list(far.tokens.batches(MANY, 32)))
    before = far.ndif.traffic.requests

    found = neurons(far, MANY)

    assert far.ndif.traffic.requests - before < batches / 8
    assert_close(found, neurons(local_of("llama"), MANY))


def test_a_request_is_no_larger_than_the_server_hands_straight_back(
    ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steer_plugin.adapters.nnsight import ndif as ndif_module

    one = 4 * 72
    monkeypatch.setattr(ndif_module, "SESSION_BYTES", 3 * one)
    far = remote(folder_of(ndif, "llama"), batch_tokens=1)
    sizes: list[int] = []
    run = far.ndif.run

    def counted(send: Any) -> Any:
        answer = run(send)
        sizes.append(len(answer))
        return answer

    monkeypatch.setattr(far.ndif, "run", counted)
    neurons(far, MANY[:13])

    assert sizes == [1, 2, 3, 3, 3, 1]


def test_four_clients_at_once_each_get_their_own_answers(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    plans = [intervention(plan("mlp.hook_post", "set", seed=seed)) for seed in range(4)]
    wanted = [neurons(local_of("llama"), MANY[:60], given) for given in plans]

    def work(given: Intervention) -> np.ndarray:
        return neurons(remote(folder_of(ndif, "llama"), batch_tokens=32), MANY[:60], given)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, plans))

    for one, expected in zip(found, wanted, strict=True):
        assert_close(one, expected)


# What goes wrong


@pytest.fixture
def told() -> list[str]:
    return []


def while_running(adapter: TraceAdapter, texts: list[str], act: Callable[[], None]) -> np.ndarray:
    """Read neurons, and do something once the second batch of answers has come."""
    responses: dict[int, np.ndarray] = {}
    for number, batch in enumerate(adapter.collect(texts, [NEURONS])):
        for row, found in zip(batch.rows, batch.responses[NEURONS].numpy(), strict=True):
            assert row not in responses
            responses[int(row)] = found
        if number == 2:
            act()
    assert len(responses) == len(texts)
    return np.stack([responses[row] for row in range(len(texts))])


def after_some_answers(adapter: TraceAdapter, act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a few requests more are answered, and the next is on its way."""
    enough = adapter.ndif.traffic.requests + 4

    def watch() -> None:
        while adapter.ndif.traffic.requests < enough:
            time.sleep(0.001)
        act()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    return watcher


def test_a_killed_model_actor_costs_a_moment_and_no_row(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter], told: list[str]
) -> None:
    folder = folder_of(ndif, "llama")
    far = remote(folder, batch_tokens=64, say=told.append)
    killed = ndif.actors_of(folder)

    found = while_running(far, MANY, lambda: ndif.kill_actor(folder))

    assert_close(found, neurons(local_of("llama"), MANY))
    assert_restarted(ndif, folder, killed)
    # A server that misses its actor before the next request comes lets that wait instead.
    tries = [line for line in told if "trying again in" in line]
    assert len(tries) == far.ndif.traffic.again


def assert_restarted(ndif: NDIFServer, folder: Path, killed: list[int]) -> None:
    assert killed
    assert not {*killed} & {*ndif.actors_of(folder)}
    assert ndif.actors_of(folder)


def test_an_actor_killed_in_the_middle_of_a_request_costs_no_row(
    ndif: NDIFServer, local_of: Callable[[str], BridgeAdapter]
) -> None:
    folder = folder_of(ndif, "llama")
    far = remote(folder, batch_tokens=1)
    killed = ndif.actors_of(folder)
    killer = after_some_answers(far, lambda: ndif.kill_actor(folder))

    # So many that the last is not answered before the actor is dead.
    found = neurons(far, MANY * 3)
    killer.join()

    assert_restarted(ndif, folder, killed)
    assert_close(found, neurons(local_of("llama"), MANY * 3))


@dataclasses.dataclass(frozen=True)
class Outage:
    """What an API that was killed and came back did to three who were at it.

    Attributes:
        patient: what one who waited for it read.
        patient_told: what that was told.
        again: how often that tried again.
        hasty_error: of one whose patience ended first.
        hasty_told: what that was told.
        out: folder of a run whose patience ended, too.
        broken_off: how that ended.
        kept: steps that it had done.
        resumed: how it ended when it was carried out once more.
    """

    patient: np.ndarray
    patient_told: list[str]
    again: int
    hasty_error: str
    hasty_told: list[str]
    out: Path
    broken_off: command_line.Ended
    kept: list[str]
    resumed: command_line.Ended


@pytest.fixture(scope="module")
def outage(ndif: NDIFServer, tmp_path_factory: pytest.TempPathFactory) -> Outage:
    """Kill the API once, since it takes half a minute to come back."""
    folder, tmp = folder_of(ndif, "llama"), tmp_path_factory.mktemp("outage")
    out, file = tmp / "out", tmp / "run.toml"
    corpus = saved_models.save_corpus(tmp / "corpus.tsv", 24)
    file.write_text(
        f'model = "{folder}"\ncorpus = "{corpus}"\ntargets = ["deu_Latn"]\n'
        'top_k = [3]\nresamples = 20\nhost = "ndif"\n'
    )
    command = ["run", file, "--out", out, "--ndif-url", ndif.url, "--ndif-patience", "3"]
    told: dict[str, list[str]] = {"patient": [], "hasty": []}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        ndif_fixture.connect(ndif, patch)
        patch.setenv("NDIF_API_KEY", ndif.key)
        patient = remote(folder, batch_tokens=1, say=told["patient"].append)
        hasty = remote(folder, batch_tokens=64, patience_s=4.0, say=told["hasty"].append)
        process = command_line.start(*command)
        waiting = []

        def kill() -> None:
            process.until("Embedding 12 sentences in 3 languages: before")
            waiting.append(pool.submit(neurons, patient, MANY * 2))
            process.until("Embedding 12 sentences in 3 languages: deu_Latn-k3-experts")
            ndif.kill_api()

        try:
            with pytest.raises(ModelError) as raised:
                while_running(hasty, MANY, kill)
            broken_off = process.finish()
            kept = sorted(path.parent.name for path in out.rglob("config.json"))
        finally:
            ndif.start_api()
        read = waiting[0].result()
        ndif.ready(folder)
        resumed = command_line.run(*command)
    return Outage(
        read,
        told["patient"],
        patient.ndif.traffic.again,
        str(raised.value),
        told["hasty"],
        out,
        broken_off,
        kept,
        resumed,
    )


def test_an_api_that_comes_back_costs_whoever_waits_a_moment_and_no_row(
    outage: Outage, local_of: Callable[[str], BridgeAdapter]
) -> None:
    assert_close(outage.patient, neurons(local_of("llama"), MANY * 2))
    assert outage.again >= 1
    assert outage.patient_told


def test_a_server_that_stays_away_ends_in_one_line(outage: Outage, ndif: NDIFServer) -> None:
    assert re.match(rf"NDIF at {ndif.url} cannot be reached: .*refused", outage.hasty_error)
    assert [line.partition(";")[2] for line in outage.hasty_told] == [
        " trying again in 1 s",
        " trying again in 2 s",
    ]


def test_a_run_goes_on_where_a_dead_server_stopped_it(outage: Outage, ndif: NDIFServer) -> None:
    code, stdout, err = outage.broken_off
    assert (code, stdout) == (1, "")
    assert "cannot be reached" in err
    assert "Traceback" not in err
    assert outage.kept[:3] == ["before", "experts", "experts-judged"]

    code, stdout, err = outage.resumed
    assert (code, stdout) == (0, f"{outage.out / 'report.html'}\n"), err
    assert "Kept experts" in err
    assert ndif.key not in "".join(
        path.read_text(errors="ignore") for path in outage.out.rglob("*") if path.is_file()
    )


def test_a_server_that_was_never_there_is_not_waited_for(ndif: NDIFServer) -> None:
    started = time.monotonic()

    with pytest.raises(ModelError, match=r"127.0.0.1:1 cannot be reached: .*refused.*run the same"):
        remote(folder_of(ndif, "llama"), url="http://127.0.0.1:1")

    assert time.monotonic() - started < 5


@pytest.mark.parametrize("key", ["5e000000-0000-4000-8000-000000000000", "no-uuid-at-all"])
def test_a_wrong_key_is_refused_at_once_and_not_told(
    key: str, ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = remote(folder_of(ndif, "llama"), batch_tokens=64)

    with pytest.raises(ModelError, match=r"refuses the API key: .*; set it with nnsight") as raised:
        while_running(far, MANY, lambda: monkeypatch.setattr(nnsight.CONFIG.API, "APIKEY", key))

    assert key not in str(raised.value)
    assert far.ndif.traffic.again == 0


def test_a_missing_key_is_asked_for(ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnsight.CONFIG.API, "APIKEY", None)

    with pytest.raises(ModelError, match=r"refuses the API key: .*; set it with nnsight"):
        remote(folder_of(ndif, "llama"))


def test_requests_that_take_too_long_are_cut_into_shorter_ones(
    ndif: NDIFServer,
    local_of: Callable[[str], BridgeAdapter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (hurried,) = ndif.execution_timeouts_s
    few = [sentence(60, seed) for seed in range(20)]
    far = remote(hurried, batch_tokens=1000)
    refused: list[str] = []
    run = far.ndif.run

    def watched(send: Any) -> Any:
        try:
            return run(send)
        except ModelError as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr(far.ndif, "run", watched)
    # As many texts as it takes on this machine for one request to last too long.
    for times in (100, 200, 400, 800, 1600):
        found = neurons(far, few * times)
        if refused:
            break

    assert refused
    assert all("execution timeout of 1.0s" in line for line in refused)
    assert_close(found, np.tile(neurons(local_of("llama"), few), (times, 1)))


def test_a_batch_that_alone_takes_too_long_says_so(ndif: NDIFServer) -> None:
    (hurried,) = ndif.execution_timeouts_s
    far = remote(hurried, batch_tokens=1_000_000)

    with pytest.raises(ModelError, match=r"execution timeout of 1.0s.*give fewer tokens a batch"):
        neurons(far, [sentence(60, seed) for seed in range(6000)])


def test_a_request_that_runs_without_an_end_is_given_up(
    ndif: NDIFServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steer_plugin.adapters.nnsight.ndif.POLL_S", 0.2)
    monkeypatch.setattr("steer_plugin.adapters.nnsight.ndif.LONGEST_RUN_S", 0.3)
    far = remote(folder_of(ndif, "llama"), batch_tokens=1_000_000)

    with pytest.raises(ModelError, match=r"has run a request .* without an answer; give fewer"):
        neurons(far, [sentence(60, seed) for seed in range(6000)])


def test_a_plan_for_another_model_is_refused_before_a_request(ndif: NDIFServer) -> None:
    far = remote(folder_of(ndif, "llama"))
    sent = far.ndif.traffic.sent

    with pytest.raises(SiteError, match=r"unit L0N24 does not exist: mlp.hook_post has 24 units"):
        neurons(far, TEXTS, Intervention("mlp.hook_post", (0,), (24,), (1.0,)))

    assert far.ndif.traffic.sent == sent


def test_a_block_that_fails_on_the_server_says_what_failed(ndif: NDIFServer) -> None:
    far = remote(folder_of(ndif, "llama"))

    def fail(backend: Any) -> None:
        model = far.model
        with model.session(backend=backend):
            raise LookupError("no such thing")

    with pytest.raises(ModelError, match=r"failed in the model: LookupError: no such thing"):
        far.ndif.run(fail)


# The command line


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return saved_models.save_corpus(tmp_path / "corpus.tsv", 24)


def test_find_generate_align_and_retrieve_on_a_server(
    ndif: NDIFServer,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = folder_of(ndif, "llama")
    on_server = ["--host", "ndif", "--ndif-url", ndif.url]
    shared = ["--model", str(folder), "--corpus", str(corpus), "--json"]

    def told(*arguments: str) -> Any:
        assert run_command(arguments) == 0
        return capsys.readouterr()

    out = tmp_path / "far"
    err = told("find", *shared, *on_server, "--out", str(out)).err
    assert "NDIF: " in err
    assert " bytes sent, " in err
    told("find", *shared, "--out", str(tmp_path / "near"))
    far, near = ExpertTable.load(out), ExpertTable.load(tmp_path / "near")
    np.testing.assert_allclose(far.scores, near.scores, rtol=0, atol=1e-2)
    assert far.provenance["model"]["host"].endswith("on NDIF")

    steering = ["--experts", str(out), "--target", "deu_Latn", "--top-k", "3"]
    for name in ("align", "retrieve"):
        rows = json.loads(told(name, *shared, *on_server, *steering).out)
        wanted = json.loads(told(name, *shared, *steering).out)
        assert [row.keys() for row in rows] == [row.keys() for row in wanted]
        for row, expected in zip(rows, wanted, strict=True):
            for key, value in expected.items():
                assert row[key] == (
                    pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
                )
    generate = ["generate", "--model", str(folder), *steering, "--temperature", "0", "--json"]
    generate += ["--prompt", "air cat"]
    there, here = (json.loads(told(*generate, *host).out) for host in (on_server, []))
    for half in ("before", "after"):
        assert there[half].pop("log_probabilities") == pytest.approx(
            here[half].pop("log_probabilities"), abs=1e-4
        )
        records = [answers[half].pop("provenance") for answers in (there, here)]
        assert records[0]["sampling"] == records[1]["sampling"]
    assert there == here


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--ndif-url", "http://127.0.0.1:1"], 2, "they go with the host ndif"),
        (["--ndif-patience", "3", "--host", "nnsight"], 2, "they go with the host ndif"),
        (["--host", "ndif", "--dtype", "bfloat16"], 2, "where the server decides that itself"),
        (["--host", "ndif", "--ndif-url", "localhost:1"], 1, "'localhost:1' is no URL of a server"),
        (["--host", "ndif", "--ndif-url", "http://127.0.0.1:1"], 1, "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    ndif: NDIFServer,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["find", "--model", str(folder_of(ndif, "llama")), "--corpus", str(corpus)]

    assert run_command([*given, "--out", str(tmp_path / "out"), *arguments]) == code

    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_host_on_the_command_line_goes_before_the_files(
    corpus: Path, ndif: NDIFServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        f'model = "{folder_of(ndif, "llama")}"\ncorpus = "{corpus}"\ntargets = ["deu_Latn"]\n'
        'top_k = [3]\nresamples = 20\nhost = "ndif"\nndif_url = "http://127.0.0.1:1"\n'
    )

    code = run_command(["run", str(file), "--out", str(tmp_path / "out"), "--host", "nnsight"])

    assert code == 0, capsys.readouterr().err
    found = ExpertTable.load(tmp_path / "out" / "experts").provenance["model"]["host"]
    assert found == f"nnsight {nnsight.__version__}"


def test_the_demo_model_is_no_servers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(["demo", "--host", "ndif", "--out", str(tmp_path / "out")]) == 1
    assert "'demo' is a file here, which no NDIF server has" in capsys.readouterr().err
