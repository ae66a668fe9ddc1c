"""The same sentences in four languages, and the files that hold them."""

import json
from pathlib import Path

import pandas as pd

from steer_plugin.corpora.parallel import ParallelCorpus

# Quotes, separators, spaces at the ends, a decomposed accent, line and paragraph separators: text
# is kept to the letter.
SENTENCES = {
    "eng_Latn": ("A “quoted” word.", '"Stop", he said.', " Room for 2, please? ", "It's 'fine'"),
    "deu_Latn": ("Ein „Wort“, zitiert.", '"Halt", sagte er.', "Platz für 2?", "Schön\u2028so"),
    "fra_Latn": ("Un mot cité.", "« Stop », dit-il.", "Cafe\u0301 pour 2 ?", "C'est\u0085bien"),
    "jpn_Jpan": (
        "引用された「言葉」。",
        "「止まれ」と彼は言った。",
        "二人です。",
        "いい\u3000ですよ",
    ),
}
LANGUAGES = tuple(SENTENCES)
IDS = ("1", "2", "3", "4")
CORPUS = ParallelCorpus(LANGUAGES, IDS, tuple(SENTENCES.values()))


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def jsonl(frame: pd.DataFrame) -> str:
    records = frame.to_dict("records")
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parquet(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_parquet(path)
    return path


def flores_folder(folder: Path, split: str, *, nested: bool, end: str = "\n") -> Path:
    for language, sentences in SENTENCES.items():
        home = folder / split if nested else folder
        write(home / f"{language}.{split}", "".join(text + end for text in sentences))
    return folder
