"""The language of texts, against the bundled corpus and against the identifier itself."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import LanguageIdentifier

from steer_plugin import ParallelCorpus
from steer_plugin.analyses.generation.language_id import identified_code, language_probabilities
from steer_plugin.errors import AnalysisError

CORPUS = ParallelCorpus.everyday()


def test_sentences_are_most_probable_in_their_own_language() -> None:
    means = np.array(
        [
            [language_probabilities(texts[:60], language).mean() for language in CORPUS.languages]
            for texts in CORPUS.texts
        ]
    )
    off_diagonal = means[~np.eye(len(means), dtype=bool)]
    assert means.diagonal().min() > 0.5
    assert off_diagonal.max() < 0.05


def test_probabilities_are_those_of_the_identifier_over_all_its_languages() -> None:
    reference = LanguageIdentifier.from_model_file("data/model.npz.xz", norm_probs=True)
    texts = ["Das ist ein Haus.", "x", "the cat", "日本語です", "Привет, мир", "a 1 b 2"]
    letters = ("en", "de", "fr", "es", "ja", "ru", "zh")
    for language, two in zip(CORPUS.languages, letters, strict=True):
        wanted = [dict(reference.rank(text))[two] for text in texts]
        np.testing.assert_array_equal(language_probabilities(texts, language), wanted)
    for text in texts:
        assert sum(dict(reference.rank(text)).values()) == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_any_text_has_a_probability_and_one_without_letters_has_none(texts: list[str]) -> None:
    found = language_probabilities(texts, "deu_Latn")
    assert found.shape == (len(texts),)
    assert ((found >= 0) & (found <= 1)).all()
    for text, probability in zip(texts, found, strict=True):
        has_letters = any(unicodedata.category(letter).startswith("L") for letter in text)
        assert (probability > 0) <= has_letters
        # Beside others or alone.
        assert language_probabilities([text], "deu_Latn")[0] == probability


@pytest.mark.parametrize("text", ["", " ", "\n\t", "123 !!!", "… — “”", "١٢٣", "🙂"])
def test_a_text_without_a_letter_is_in_no_language(text: str) -> None:
    for language in CORPUS.languages:
        assert language_probabilities([text], language) == [0.0]


# By the identifier's code the one of FLORES-200, or one in its form of what it does not have.
TARGETS = """
af afr_Latn  am amh_Ethi  ar arb_Arab  as asm_Beng  az azj_Latn  be bel_Cyrl  bg bul_Cyrl
bn ben_Beng  br bre_Latn  bs bos_Latn  ca cat_Latn  cs ces_Latn  cy cym_Latn  da dan_Latn
de deu_Latn  el ell_Grek  en eng_Latn  eo epo_Latn  es spa_Latn  et est_Latn  eu eus_Latn
fa pes_Arab  fi fin_Latn  fr fra_Latn  fy fry_Latn  ga gle_Latn  gd gla_Latn  gl glg_Latn
gu guj_Gujr  ha hau_Latn  he heb_Hebr  hi hin_Deva  hr hrv_Latn  ht hat_Latn  hu hun_Latn
hy hye_Armn  id ind_Latn  ig ibo_Latn  is isl_Latn  it ita_Latn  ja jpn_Jpan  jv jav_Latn
ka kat_Geor  kk kaz_Cyrl  km khm_Khmr  kn kan_Knda  ko kor_Hang  ku kmr_Latn  ky kir_Cyrl
la lat_Latn  lg lug_Latn  ln lin_Latn  lo lao_Laoo  lt lit_Latn  lv lvs_Latn  mg plt_Latn
mk mkd_Cyrl  ml mal_Mlym  mn khk_Cyrl  mr mar_Deva  ms zsm_Latn  my mya_Mymr  ne npi_Deva
nl nld_Latn  no nob_Latn  om gaz_Latn  or ory_Orya  pa pan_Guru  pl pol_Latn  ps pbt_Arab
pt por_Latn  qu quy_Latn  ro ron_Latn  ru rus_Cyrl  sa san_Deva  si sin_Sinh  sk slk_Latn
sl slv_Latn  so som_Latn  sq als_Latn  sr srp_Cyrl  sv swe_Latn  sw swh_Latn  ta tam_Taml
te tel_Telu  th tha_Thai  tl tgl_Latn  tr tur_Latn  ug uig_Arab  uk ukr_Cyrl  ur urd_Arab
uz uzn_Latn  vi vie_Latn  xh xho_Latn  yo yor_Latn  zh zho_Hans  zu zul_Latn  ace ace_Latn
bcl bcl_Latn  dz dzo_Tibt  ext ext_Latn  gcf gcf_Latn  gom gom_Deva  grc grc_Grek  gug grn_Latn
hbo hbo_Hebr  kik kik_Latn  nso nso_Latn  pcm pcm_Latn  rw kin_Latn  se sme_Latn  sn sna_Latn
st sot_Latn  an arg_Latn  ary ary_Arab  crh crh_Latn  fo fao_Latn  fuv fuv_Latn  gcr gcr_Latn
guw guw_Latn  kab kab_Latn  lb ltz_Latn  lij lij_Latn  ltg ltg_Latn  uzs uzs_Arab  wa wln_Latn
sdh sdh_Arab  arz arz_Arab  ba bak_Cyrl  mt mlt_Latn  nn nno_Latn  oc oci_Latn  tg tgk_Cyrl
tk tuk_Latn  tt tat_Cyrl  vec vec_Latn  vo vol_Latn  wuu wuu_Hans  yue yue_Hant
"""
# What FLORES+, or a second script or variety, calls otherwise.
OTHERWISE = {
    "zh": ["zho_Hant", "cmn_Hans", "cmn_Hant"], "et": ["ekk_Latn"], "tl": ["fil_Latn"],
    "ar": ["ara_Arab"], "fa": ["prs_Arab", "fas_Arab"], "sw": ["swa_Latn"], "ace": ["ace_Arab"],
}  # fmt: skip


def test_every_language_of_the_identifier_is_known_by_its_flores_code() -> None:
    by_label = dict(zip(TARGETS.split()[::2], TARGETS.split()[1::2], strict=True))
    identifier = LanguageIdentifier.from_model_file("data/model.npz.xz")
    assert set(identifier.labels) - set(by_label) == {"zxx"}  # no language
    assert {label: identified_code(code) for label, code in by_label.items()} == {
        label: label for label in by_label
    }
    for label, codes in OTHERWISE.items():
        assert {identified_code(code) for code in codes} == {label}


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("tlh_Latn", r"Klingon \(tlh_Latn\)"),
        ("ars_Arab", r"Najdi Arabic \(ars_Arab\)"),
        ("azb_Arab", r"South Azerbaijani \(azb_Arab\)"),
        ("German", "German"),
    ],
)
def test_a_language_that_the_identifier_does_not_know_is_refused_with_those_it_does(
    language: str, name: str
) -> None:
    with pytest.raises(AnalysisError, match=rf"^py3langid does not know {name}; .*: ace, af, am, "):
        language_probabilities(["nuqneH"], language)


def test_the_identifier_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    language_probabilities(["ein Haus"], "deu_Latn")
    monkeypatch.setattr(LanguageIdentifier, "from_model_file", None)
    assert language_probabilities(["ein Haus"], "eng_Latn")[0] < 0.5
