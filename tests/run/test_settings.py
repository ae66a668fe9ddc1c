"""Run files: what they may say, and what they are told when they say something else."""

from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest

from steer_plugin import ParallelCorpus
from steer_plugin.analyses.run.files import read_settings
from steer_plugin.analyses.run.settings import (
    GenerationSettings,
    PlanSettings,
    RunSettings,
    StepSettings,
)
from steer_plugin.errors import SettingsError
from steer_plugin.experts.selection import Choice
from steer_plugin.settings.parts import CONTROLS

NEEDED = 'model = "m"\ntargets = ["deu_Latn"]\ntop_k = [3]\n'


PLAN = '[[plans]]\nname = "p"\ntarget = "deu_Latn"\n'
STEP = '[[plans.steps]]\nname = "on"\nconcept = "deu_Latn"\ntop_k = 3\n'


def read(folder: Path, text: str) -> RunSettings:
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return read_settings(file)


def test_what_a_file_leaves_out_has_the_documented_default(tmp_path: Path) -> None:
    settings = read(tmp_path, NEEDED)

    found = {field.name: getattr(settings, field.name) for field in fields(settings)}
    assert found == {
        "model": "m",
        "targets": ("deu_Latn",),
        "top_k": (3,),
        "corpus": "everyday",
        "against": None,
        "judge_corpus": None,
        "judge_against": None,
        "group": None,
        "languages": None,
        "find_languages": None,
        "seen": None,
        "sentences": None,
        "site": "mlp.hook_post",
        "pooling": "max",
        "score": "auroc",
        "selection": "top",
        "per_layer": False,
        "unit_layers": None,
        "operation": "set",
        "value": None,
        "strength": 1.0,
        "positions": "all",
        "steer_bos": True,
        "layers": None,
        "controls": (),
        "control_seeds": (0,),
        "methods": (),
        "measures": (),
        "plans": (),
        "method_layer": None,
        "permutations": 0,
        "stability_resamples": 0,
        "source": None,
        "experts": None,
        "tatoeba": None,
        "bucc": None,
        "pawsx": None,
        "bitext_queries": None,
        "projections": ("pca",),
        "generation": None,
        "split_seed": 0,
        "resamples": 1000,
        "bootstrap_seed": 0,
        "bos": None,
        "chat": False,
        "dtype": "auto",
        "device": "auto",
        "quantize": None,
        "batch_tokens": 2048,
        "host": "transformer_lens",
        "ndif_url": None,
    }


@pytest.mark.parametrize("kind", [RunSettings, GenerationSettings, PlanSettings, StepSettings])
def test_every_setting_is_documented(kind: type) -> None:
    listed = (kind.__doc__ or "").split("Attributes:")[1]

    assert [line.split(":")[0].strip() for line in listed.splitlines() if line[8:9].strip()] == [
        field.name for field in fields(kind)
    ]


def test_every_setting_can_be_said(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        model = "demo"
        targets = ["deu_Latn", "spa_Latn"]
        top_k = [5, 10]
        corpus = "sentences.tsv"
        languages = ["deu_Latn", "spa_Latn"]
        sentences = 40
        site = "attn.hook_z"
        pooling = "mean"
        score = "average_precision"
        operation = "blend"
        value = 2
        strength = 0.5
        positions = "prompt"
        steer_bos = false
        layers = [3, 1]
        split_seed = 1
        control_seeds = [4, 2]
        resamples = 10
        bootstrap_seed = 3
        bos = true
        dtype = "bfloat16"
        device = "cuda:0"
        batch_tokens = 64
        judge_corpus = "others.tsv"
        find_languages = ["deu_Latn", "spa_Latn", "zho_Hans"]
        seen = ["deu_Latn"]
        selection = "top+bottom"
        per_layer = true
        unit_layers = [0, 5]
        controls = ["random-in-layers", "bottom", "centring"]
        methods = ["set-mean", "steer-pca"]
        method_layer = 4
        permutations = 100
        stability_resamples = 20
        tatoeba = "xtreme/tatoeba"
        bucc = "hf:google/xtreme"
        pawsx = "paraphrases"
        bitext_queries = 500
        projections = ["pca", "umap"]

        [generation]
        top_k = [1, 2]
        sentences = 16
        seeds = [3, 4]
        max_new_tokens = 8
        temperature = 0.5
        top_p = 1
        documents = "wikipedia"
        context = 256
        stride = 128
        tolerance = 1.5

        [[plans]]
        name = "eng-off-deu-on"
        target = "deu_Latn"
        [[plans.steps]]
        name = "off"
        concept = "eng_Latn"
        top_k = 40
        site = "mlp.hook_post"
        operation = "scale"
        value = 0
        strength = 0.5
        positions = "prompt"
        steer_bos = false
        selection = "bottom"
        per_layer = true
        unit_layers = [1, 2]
        [[plans.steps]]
        name = "on"
        concept = "deu_Latn"
        top_k = 30
        """,
    )

    assert (settings.value, settings.strength, settings.layers) == (2.0, 0.5, (3, 1))
    assert (settings.languages, settings.control_seeds) == (("deu_Latn", "spa_Latn"), (4, 2))
    assert (settings.bos, settings.steer_bos, settings.dtype) == (True, False, "bfloat16")
    assert (settings.unit_layers, settings.controls[2]) == ((0, 5), "centring")
    assert settings.choice == Choice("top+bottom", True, (0, 5))
    assert settings.every_k == (5, 10, 1, 2)
    assert settings.generation == GenerationSettings(
        top_k=(1, 2),
        sentences=16,
        seeds=(3, 4),
        max_new_tokens=8,
        temperature=0.5,
        top_p=1.0,
        documents="wikipedia",
        context=256,
        stride=128,
        tolerance=1.5,
    )


def test_a_step_has_the_defaults_of_a_run_and_a_choice_of_its_own(tmp_path: Path) -> None:
    settings = read(tmp_path, f'{NEEDED}operation = "add"\n{PLAN}{STEP}')

    (step_settings,) = settings.steps
    assert (settings.written_value, step_settings.written_value) == ("mean_difference", "mean")
    assert step_settings == StepSettings(name="on", concept="deu_Latn", top_k=3)
    assert step_settings.choice == Choice()
    assert settings.plans == (PlanSettings(name="p", target="deu_Latn", steps=(step_settings,)),)
    defaults = {part.name: part.default for part in fields(RunSettings)}
    for part in fields(StepSettings)[4:]:
        assert part.default == defaults[part.name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", r"'colour' is no setting; the settings are model, targets, .*batch_tokens"),
        ("[run]\nseed = 1", "'run' is no setting"),
        ("[generation]\nsentence = 1", r"'sentence' is no setting of \[generation\]; .*tolerance"),
        ('[generation]\nseeds = "0"', "generation.seeds: Input should be a valid list, not '0'"),
        ("[generation]\nseeds = [1, 1]", "generation.seeds: Each item may be given once"),
        ("[generation]\ntop_p = 0", "generation.top_p: Input should be greater than 0, not 0"),
        ("generation = 3", "generation: Input should be .*GenerationSettings, not 3"),
        (
            'controls = ["none"]',
            r"controls\.0: Input should be one of random-in-la.*, not 'none'",
        ),
        ('methods = ["none"]', r"methods\.0: Input should be one of set-mean, .*, not 'none'"),
        ('selection = "best"', "selection: Input should be 'top', 'bottom' or 'top.bottom'"),
        ("unit_layers = [5, 2]", "unit_layers: The first block should not come after the last"),
        ("unit_layers = [5]", r"unit_layers\.1: Field required"),
        (
            'layers = "some"',
            "layers: Input should be .*; layers: Input should be 'all', not 'some'",
        ),
        ('projections = ["tsne"]', r"projections\.0: Input should be 'pca' or 'umap', not 'tsne'"),
        ('top_k = "many"', "top_k: Input should be a valid list, not 'many'"),
        ("top_k = [1, 2.5]", r"top_k\.1: Input should be a valid integer, not 2.5"),
        ("top_k = [true]", r"top_k\.0: Input should be a valid integer, not True"),
        ("top_k = [0]", r"top_k\.0: Input should be greater than or equal to 1, not 0"),
        ("top_k = []", "top_k: List should have at least 1 item"),
        ("top_k = [3, 3]", r"top_k: Each item may be given once, not \[3, 3\]"),
        ("targets = [1]", r"targets\.0: Input should be a valid string, not 1"),
        ('targets = ["a", "a"]', r"targets: Each item may be given once, not \['a', 'a'\]"),
        ("control_seeds = [0, 0]", "control_seeds: Each item may be given once"),
        ("control_seeds = [-1]", r"control_seeds\.0: Input should be greater than or equal to 0"),
        ("layers = [1, 1]", "layers: Each item may be given once"),
        ('languages = "deu_Latn"', "languages: Input should be a valid list, not 'deu_Latn'"),
        ("sentences = 3", "sentences: Input should be greater than or equal to 4, not 3"),
        ('site = "mlp"', r"site: Input should be one of mlp\.hook_post, .*, not 'mlp'"),
        ('site = "mlp.hook_router_logits"', "site: Input should be a site that plans steer"),
        ('pooling = "sum"', "pooling: Input should be one of max, mean, min, last, not 'sum'"),
        ('score = "f1"', "score: Input should be one of auroc, average_precision, .*, not 'f1'"),
        ('operation = "zap"', "operation: Input should be one of set, add, .*, not 'zap'"),
        ('positions = "odd"', "positions: Input should be all, .* slice .* -3:, not 'odd'"),
        ('positions = "1:2:0"', "positions: Input should be all, .*, not '1:2:0'"),
        ("positions = 3", "positions: Input should be a valid string, not 3"),
        ('dtype = "int8"', "dtype: Input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ("strength = inf", "strength: Input should be a finite number, not inf"),
        ('strength = "half"', "strength: Input should be a valid number, not 'half'"),
        ("value = nan", "value.*finite number, not nan"),
        ('bos = "yes"', "bos: Input should be a valid boolean, not 'yes'"),
        ("resamples = 0", "resamples: Input should be greater than or equal to 1, not 0"),
        ('source = "deu_Latn"', "source: Input should be none of the targets, not 'deu_Latn'"),
        (
            'permutations = 3\nsource = "eng_Latn"',
            "source: Input should be left out beside permutations, which compares with all, not",
        ),
        (PLAN, r"'steps' of \[plans\.0\] is missing; it has no default"),
        (PLAN + "steps = 3", r"plans\.0\.steps: Input should be a valid list, not 3"),
        (
            f"{PLAN}{STEP}strenght = 2",
            r"'strenght' is no setting of \[plans\.0\.steps\.0\]; the settings are name, concept",
        ),
        (
            f"{PLAN}{STEP}{STEP}",
            r"plans\.0\.steps: Each name may be given once, not \['on', 'on'\]",
        ),
        (f"{PLAN}{STEP}{PLAN}{STEP}", r"plans: Each name may be given once, not \['p', 'p'\]"),
        (
            f"{PLAN}{STEP}".replace('"p"', '"zero"'),
            "plans: Each name should be none of experts and the methods",
        ),
        (
            f"{PLAN}{STEP}".replace('"p"', '"../p"'),
            r"plans\.0\.name: String should match pattern .*, not '\.\./p'",
        ),
        (
            f"{PLAN}{STEP}".replace("deu", "fra"),
            "plans: The target of each should be one of targets, deu_Latn, not",
        ),
        (
            f'{PLAN}{STEP}positions = "generated"',
            r"plans\.0\.steps\.0\.positions: Input should be all, .*, since embeddings have no gen",
        ),
        ("plans = 3", "plans: Input should be a valid list, not 3"),
        ("bootstrap_seed = 4294967296", "bootstrap_seed: Input should be less than 4294967296"),
    ],
)
def test_what_is_not_understood_is_named_with_what_was_expected(
    text: str, message: str, tmp_path: Path
) -> None:
    name = text.split(" = ")[0]
    kept = [line for line in NEEDED.splitlines() if not line.startswith(f"{name} ")]

    with pytest.raises(SettingsError, match=rf"run\.toml cannot be run: {message}") as error:
        read(tmp_path, "\n".join([*kept, text]))

    assert "\n" not in str(error.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, "top_k = [0]\ncolour = 1")

    for part in ("'model' is missing", "'targets' is missing", "top_k.0: ", "'colour' is no"):
        assert part in str(error.value)


def test_what_is_no_toml_is_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"run\.toml is not TOML: .*at line 2"):
        read(tmp_path, 'model = "m"\ntop_k == [3]\n')


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('model = "Bücher"'.encode("latin-1"))

    for name, reason in (
        ("none.toml", "No such file"),
        ("latin.toml", "utf-8"),
        (".", "directory"),
    ):
        with pytest.raises(SettingsError, match=f"cannot read .*{reason}"):
            read_settings(tmp_path / name)


VARIED = (
    NEEDED.replace('"m"', '"small/model"')
    + """
[generation]
sentences = 8
[variants.large]
model = "large/model"
top_k = [100, 500]
[variants.large.generation]
seeds = [7]
"""
)


def varied(folder: Path, variant: str | None = None, *changes: str) -> RunSettings:
    file = folder / "varied.toml"
    file.write_text(VARIED, encoding="utf-8")
    return read_settings(file, variant=variant, changes=changes)


def test_a_variant_goes_before_the_file_and_a_change_before_both(tmp_path: Path) -> None:
    assert varied(tmp_path).model == "small/model"

    large = varied(tmp_path, "large")
    assert (large.model, large.top_k, large.targets) == ("large/model", (100, 500), ("deu_Latn",))
    assert large.generation == GenerationSettings(sentences=8, seeds=(7,))

    changed = varied(
        tmp_path, "large", "top_k=[9]", "corpus=my/corpus.tsv", "generation.seeds=[1, 2]"
    )
    assert (changed.top_k, changed.corpus, changed.model) == ((9,), "my/corpus.tsv", "large/model")
    assert changed.generation == GenerationSettings(sentences=8, seeds=(1, 2))


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ("top_k=100", "top_k", (100,)),
        ("top_k=[100]", "top_k", (100,)),
        ('layers="all"', "layers", "all"),
        ("layers=all", "layers", "all"),
        ("sentences=100", "sentences", 100),
    ],
)
def test_a_single_number_on_the_command_line_stands_for_a_list_of_one(
    tmp_path: Path, change: str, name: str, expected: object
) -> None:
    assert getattr(varied(tmp_path, None, change), name) == expected


def test_a_single_number_stands_for_a_list_of_one_in_a_section(tmp_path: Path) -> None:
    generation = varied(tmp_path, None, "generation.top_k=50", "generation.sentences=3").generation

    assert generation is not None
    assert (generation.top_k, generation.sentences) == ((50,), 3)


@pytest.mark.parametrize(
    "change", ["bucc=", 'bucc=""', "seen=", "generation.top_k=", "generation="]
)
def test_nothing_on_the_command_line_takes_a_setting_back(change: str, tmp_path: Path) -> None:
    given = ("bucc=xtreme/bucc2018", "generation.top_k=[3]", 'seen=["deu_Latn"]')
    name, _, below = change.split("=")[0].partition(".")

    settings = varied(tmp_path, None, *given, change)

    found = getattr(settings, name)
    assert (getattr(found, below) if below else found) is None


def test_a_setting_that_is_always_given_cannot_be_taken_back(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="top_k: Input should be a valid list, not ''"):
        varied(tmp_path, None, "top_k=")


def test_the_last_of_two_changes_counts(tmp_path: Path) -> None:
    assert varied(tmp_path, None, "top_k=[9]", "top_k = [8, 7]").top_k == (8, 7)


@pytest.mark.parametrize(
    ("variant", "change", "message"),
    [
        ("huge", (), "varied.toml has no variant 'huge'; it has: large"),
        (None, ("top_k",), "'top_k' changes no setting; give key=value, such as top_k="),
        (None, ("=3",), "'=3' changes no setting"),
        (None, ("colour=3",), "'colour' is no setting; the settings are model, .*ndif_url"),
        (None, ("top_k=many",), "top_k: Input should be a valid list, not 'many'"),
        (None, ("generation.seed=3",), r"'seed' is no setting of \[generation\]"),
    ],
)
def test_a_variant_or_change_that_is_not_understood_is_named(
    variant: str | None, change: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        varied(tmp_path, variant, *change)


def test_variants_must_be_tables(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'variants' must hold tables"):
        read(tmp_path, NEEDED + "[variants]\nlarge = 3\n")


def test_what_is_missing_may_be_in_a_variant(tmp_path: Path) -> None:
    text = VARIED.replace('model = "small/model"\n', "", 1)
    with pytest.raises(SettingsError, match=r"'model' is missing.*choose a variant: large"):
        read(tmp_path, text)


def test_the_papers_protocol_ships_with_a_variant_for_each_of_its_models() -> None:
    for variant, model, top_k in (
        ("bloom", "bigscience/bloom-7b1", 100),
        ("aya", "CohereLabs/aya-23-8B", 2000),
        ("polylm", "DAMO-NLP-MT/polylm-chat-13b", 2000),
    ):
        settings = read_settings("sundar2025.toml", variant=variant)

        # PAPER, steps 1 to 3, 7 and 9.
        assert (settings.model, settings.top_k) == (model, (top_k,))
        assert (len(settings.targets), len(settings.languages or ())) == (5, 22)
        assert set(settings.find_languages or ()) == {*settings.targets, "zho_Hans"}
        assert set(settings.seen or ()) < set(settings.languages or ())
        assert (settings.score, settings.operation) == ("auroc", "set")
        how = settings.generation
        assert how is not None
        assert (how.sentences, len(how.seeds), how.temperature, how.top_p) == (256, 8, 1.0, 0.9)
        assert (how.stride, how.top_k) == (512, (100, 500, 1000, 2000, 5000))


def test_the_controls_that_can_be_said_are_those_that_can_be_made() -> None:
    assert {CONTROLS[name].of for name in CONTROLS} == {"plan", "embeddings", "figures"}
    assert RunSettings(model="m", targets=("a",), top_k=(1,), controls=tuple(CONTROLS)).controls


@pytest.mark.parametrize(
    ("name", "targets", "ks", "seeds"), [("demo", 2, 1, 1), ("sundar2025-small", 2, 3, 2)]
)
def test_the_shipped_run_files_cover_what_they_should(
    name: str, targets: int, ks: int, seeds: int
) -> None:
    settings = read_settings(Path(str(files("steer_plugin.data") / f"{name}.toml")))

    assert (settings.model, settings.corpus) == ("demo", "everyday")
    assert len(settings.targets) >= targets
    assert len(settings.top_k) >= ks
    assert len(settings.control_seeds) >= seeds
    assert set(settings.targets) <= set(ParallelCorpus.everyday().languages)


def test_the_small_protocol_says_which_languages_its_model_saw() -> None:
    settings = read_settings("sundar2025-small.toml")

    assert set(settings.seen or ()) == set(ParallelCorpus.everyday().languages)


def test_generated_tokens_cannot_be_steered_in_a_run_since_embeddings_have_none(
    tmp_path: Path,
) -> None:
    text = 'model = "m"\ntargets = ["deu_Latn"]\ntop_k = [1]\npositions = "generated"\n'
    with pytest.raises(
        SettingsError, match=r"positions.*all, prompt, text, last, or .*no generated"
    ):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "meant"), [("last", "last"), ("-1:", "last"), ("0:4", ":4"), ("-3::2", "-3::2")]
)
def test_a_slice_of_tokens_is_written_as_python_does_and_held_in_one_way(
    written: str, meant: str, tmp_path: Path
) -> None:
    step = f'{PLAN}{STEP}positions = "{written}"'
    settings = read(tmp_path, f'{NEEDED}\npositions = "{written}"\n{step}')

    assert settings.positions == settings.steps[0].positions == meant
