"""The report's section on two hosts: what they agree in, chart by chart."""

from steer_plugin.analyses.report.charts import host_overlay
from steer_plugin.analyses.report.exhibit import Exhibit
from steer_plugin.analyses.report.page import Section, table, text
from steer_plugin.analyses.report.words.host_titles import agreement, size
from steer_plugin.analyses.report.words.phrases import listed
from steer_plugin.analyses.run.two_hosts import TOP, Hosts, differing, distinct

TABLE = "hosts"


def hosts_section(hosts: Hosts) -> Section:
    """Put together the section that overlays two hosts."""
    exhibits = [_overlay(hosts)]
    if (hosts.figures["difference"] != 0).any():
        exhibits.append(_differences(hosts))
    exhibits.append(_experts(hosts))
    return Section(
        name="hosts",
        heading="The same run on two hosts",
        opening=_opening(hosts),
        exhibits=tuple(exhibits),
        tables={TABLE: hosts.figures},
    )


def _opening(hosts: Hosts) -> str:
    recorded = [
        [name.replace("_", " "), *pair]
        for name, pair in differing(hosts.here, hosts.beside).items()
    ]
    note = (
        "Distances are of cosines, the gap is a difference of mean cosines. Each figure is counted "
        "once, means over pairs and single pairs alike; random neurons are the mean over their "
        "seeds. What the two runs record differently is listed next; all else under Provenance "
        "holds for both. Every figure on both hosts: "
    )
    return (
        f'<p id="agreement">{text(agreement(hosts))}</p>'
        f"{_measures(hosts)}"
        f'<p class="note">{text(note)}<a href="tables/{TABLE}.parquet">{TABLE}.parquet</a>.</p>'
        f"{table(['', 'This report', 'Beside it'], recorded, 'words')}"
    )


def _measures(hosts: Hosts) -> str:
    """Write how many figures of each measure are equal, and how far apart they are at most."""
    once = distinct(hosts.figures)
    rows = []
    for measure, name in host_overlay.MEASURES.items():
        differences = once.loc[once["measure"] == measure, "difference"].abs()
        if not differences.empty:
            rows.append(
                [
                    name,
                    size(float(differences.max())),
                    size(float(differences.median())),
                    f"{int((differences == 0).sum()):,} of {len(differences):,}",
                ]
            )
    return table(["", "Largest difference", "Median", "Equal"], rows, "figures")


def _overlay(hosts: Hosts) -> Exhibit:
    table = host_overlay.host_overlay_table(hosts)
    panels = len(table[["target", "top_k"]].drop_duplicates())
    every = len(hosts.top_1[["target", "top_k"]].drop_duplicates())
    cut = "" if panels == every else f" Shown: {panels} of {every} combinations of target and k."
    return Exhibit(
        name="host_overlay",
        heading="Both hosts' retrieval",
        aid=(
            f"Circles are {hosts.names[0]}, crosses are {hosts.names[1]}: the further a cross "
            "is from the middle of its circle, the further apart the hosts are."
        ),
        caption=(
            "Mean top-1 over all ordered pairs of languages, raw embeddings; “final” is after the "
            "final norm. What is before steering is the same in every panel and counted once in "
            f"the title.{cut}"
        ),
        chart=host_overlay.host_overlay(hosts),
        table=table,
    )


def _differences(hosts: Hosts) -> Exhibit:
    return Exhibit(
        name="host_differences",
        heading="How far the hosts are apart",
        aid=(
            "Each point is one layer of the embedding: the figure of that measure and condition "
            "that the hosts differ most in. The axis is logarithmic."
        ),
        caption=(
            "Absolute differences, over all targets, values of k, centrings and pairs of "
            "languages. Random neurons are drawn beside the experts, so that where the hosts' "
            "experts differ, other neurons are drawn."
        ),
        chart=host_overlay.host_differences(hosts),
        table=host_overlay.host_differences_table(hosts),
    )


def _experts(hosts: Hosts) -> Exhibit:
    table = host_overlay.host_experts_table(hosts)
    fewer = (
        " Where fewer units score above chance on either host, as many are compared."
        if (hosts.experts["top_k"] < TOP).any()
        else ""
    )
    cut = (
        ""
        if len(table) == len(hosts.experts)
        else f" Shown: the {len(table)} of {len(hosts.experts)} languages that share fewest."
    )
    return Exhibit(
        name="host_experts",
        heading="Both hosts' experts",
        aid=f"How many of each language's {TOP} best experts are the same units on both hosts.",
        caption=(
            f"Experts of {listed(hosts.names)}, each found on its own host from the same "
            f"sentences; their order is not compared.{fewer}{cut}"
        ),
        chart=host_overlay.host_experts(hosts),
        table=table,
    )
