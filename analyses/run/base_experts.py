"""Experts that a run file names, in place of those that the run would find."""

from collections.abc import Callable, Iterable

from steer_plugin.analyses.run.results import FOUND_ON
from steer_plugin.analyses.run.setting_types import from_table_alone
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.corpora.corpus import Corpus
from steer_plugin.errors import SettingsError, SiteError
from steer_plugin.experts.table import ExpertTable
from steer_plugin.experts.transfer import check_units, differences
from steer_plugin.experts.values import LINES
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import recorded_model
from steer_plugin.settings.parts import METHODS


def read_experts(settings: RunSettings, find: Corpus) -> ExpertTable | None:
    """Read the experts that a run file names; None where it names none.

    Args:
        settings: of the run.
        find: the texts that find in it, which are those that no figure is judged on.

    Raises:
        ArtifactError: they cannot be read.
        SettingsError: they were found on other texts, or otherwise than the run would find them.
    """
    if settings.experts is None:
        return None
    table = ExpertTable.load(settings.experts)
    told = table.provenance
    wanted = {
        "site": settings.site,
        "pooling": settings.pooling,
        "score": settings.score,
        "source": settings.source,
        **({"lines": LINES} if settings.probe.lines else {}),
    }
    if told.get("labels") is not None:
        raise SettingsError(
            f"the experts in {settings.experts} have labels {told['labels']}; find them without "
            "--shuffle-labels"
        )
    there = {"site": table.space.site, "score": table.score}
    for name, value in wanted.items():
        given = there.get(name, told.get(name))
        if given != value:
            raise SettingsError(
                f"the experts in {settings.experts} have {name} {given or 'none'}, and the run "
                f"{value or 'none'}; change the run file, or find them so"
            )
    if told.get("corpus", {}).get("hash") != find.hash:
        raise SettingsError(
            f"the experts in {settings.experts} were not found on the {len(find)} texts that find "
            "in this run, so that some that judge may have found them; "
            + (
                "give the corpus, languages, sentences and split_seed that `find` had"
                if settings.judge_corpus in (None, settings.corpus)
                else "beside judge_corpus a run finds on all of corpus, and `steer-plugin find` on "
                "half: find them by find_experts on the whole corpus, or leave experts out"
            )
        )
    return table


def check_given(table: ExpertTable | None, adapter: Adapter, say: Callable[[str], None]) -> None:
    """Refuse given experts whose units the model does not have, and say whose they are.

    Raises:
        SiteError: they are of a model with other units, or of some of its blocks.
    """
    if table is None:
        return
    check_units(table, adapter)
    every = adapter.space(table.space.site).layers
    if table.space.layers != every:
        raise SiteError(
            f"the experts are of {len(table.space.layers)} of {len(every)} blocks, and a run takes "
            "all; give experts that were found at all of them"
        )
    for line in differences(table, adapter):
        say(line)


def made_of(table: ExpertTable | None, methods: Iterable[str]) -> tuple[str, ...]:
    """Keep the methods that take no more than the given experts have; all where none are given."""
    return tuple(
        name
        for name in methods
        if table is None
        or (
            from_table_alone(name, table.score)
            and ("lines" in table.provenance or not METHODS[name].lines)
        )
    )


def found_on_record(table: ExpertTable | None) -> dict[str, str]:
    """Say, for the provenance of a run, which model the given experts were found on."""
    if table is None:
        return {}
    model = recorded_model(table.provenance)
    more = ("revision", "host", "dtype", "fingerprint")
    return {
        FOUND_ON: str(model.get("name", "not recorded")),
        **{f"{FOUND_ON}_{name}": str(model.get(name, "not recorded")) for name in more},
    }
