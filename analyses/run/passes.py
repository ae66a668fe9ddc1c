"""What the steps of a run read of the model: planned first, so that no text passes twice."""

import shutil
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from steer_plugin.analyses.run.checkpoints import Checkpoints
from steer_plugin.analyses.run.progress import duration
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import Advance, KeptResponses, gather_on_disk, joined

FOLDER = ".passes.unfinished"
BESIDE_TEXT = 8
"""Characters that a text costs beside its own: BOS, padding, and its part of what a batch costs."""

Group = tuple[str, ...]
"""The steps that read the same texts under the same plan."""


@dataclass(frozen=True, eq=False)
class Want:
    """What a step reads.

    Attributes:
        step: its name.
        texts: any number, in any order, repeated or not.
        readings: of each text.
        plan: what is done to the model meanwhile; None for nothing.
        kept: whether the step's result seems to be there, so that it will not ask.
    """

    step: str
    texts: Sequence[str]
    readings: tuple[Reading, ...]
    plan: AnyPlan | None = None
    kept: bool = False


class Passes:
    """Reads what steps want: texts that several want under one plan pass once, with all readings.

    The batches lie in the run's folder until each step that wants of them is finished.

    Args:
        adapter: the model.
        steps: of the run.
    """

    def __init__(self, adapter: Adapter, steps: Checkpoints) -> None:
        """Plan nothing yet."""
        self.adapter = adapter
        self.steps = steps
        self._wants: dict[str, Want] = {}
        self._open: set[str] = set()
        self._groups: dict[AnyPlan | None, dict[Group, Sequence[str]]] = {}
        self._read: dict[Group, KeptResponses] = {}
        self._planned: dict[Hashable, int] = {}
        self._over: set[Hashable] = set()
        self._told: str | None = None
        self._timed = False

    @property
    def folder(self) -> Path:
        """Where the batches lie."""
        return self.steps.folder / FOLDER

    def want(self, wants: Iterable[Want]) -> None:
        """Plan what steps read; before any text of the same plan is read."""
        new = list(wants)
        self._wants |= {want.step: want for want in new}
        self._open |= {want.step for want in new if not want.kept}
        for plan in {want.plan: None for want in new}:
            for group in self._groups.get(plan, {}):
                self._forget(group)
            self._groups[plan] = _grouped(
                {want.step: want.texts for want in self._wants.values() if want.plan == plan}
            )
            for group, texts in self._groups[plan].items():
                if self._open.intersection(group):
                    self._plan(group, texts)

    def foresee(self, count: int, *wanted: Sequence[str]) -> None:
        """Count on at most so many plans besides, which are not made yet.

        Args:
            count: of the plans.
            wanted: the texts that steps will want under each.
        """
        groups = _grouped({str(step): texts for step, texts in enumerate(wanted)})
        for texts in count * list(groups.values()):
            self._plan(len(self._planned), texts)

    def forget_foreseen(self) -> None:
        """Count no longer on plans that are not made: all are."""
        for piece in [piece for piece in self._planned if isinstance(piece, int)]:
            self._forget(piece)

    def responses(self, step: str, doing: str) -> KeptResponses:
        """Give what a step reads, and let those texts pass that did not yet.

        Args:
            step: one that was planned.
            doing: what is said of it.

        Raises:
            SiteError: the model lacks a site.
            ModelError: the model answered with NaN or infinity, or takes a text not.
            ArtifactError: a batch cannot be kept.
        """
        want = self._wants[step]
        # What seemed to be kept and is not is read until the step is finished, too.
        self._open.add(step)
        groups = {g: texts for g, texts in self._groups[want.plan].items() if step in g}
        unread = [group for group in groups if group not in self._read]
        self._tell(doing, len(unread))
        for group in unread:
            self._read[group] = self._pass(group, groups[group], step.rsplit("/")[-1], want.plan)
        passes = [(texts, self._read[group]) for group, texts in groups.items()]
        return joined(passes, want.texts, want.readings)

    def finish(self, step: str) -> None:
        """Forget what only this step, and those that are finished, read."""
        self._open.discard(step)
        plan = self._wants[step].plan
        for group in self._groups[plan]:
            if step in group and not self._open.intersection(group):
                self._end(group)
                if group in self._read:
                    kept = self._read.pop(group)
                    shutil.rmtree(kept.parts[0].path.parent, ignore_errors=True)

    def close(self) -> None:
        """Forget all batches, also those of a run that was broken off and planned otherwise."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _plan(self, piece: Hashable, texts: Sequence[str]) -> None:
        self._planned[piece] = len(texts)
        self.steps.progress.expect("reading", {piece: float(_costs(texts).sum())})

    def _forget(self, piece: Hashable) -> None:
        self._planned.pop(piece, None)
        self.steps.progress.drop("reading", piece)

    def _end(self, piece: Hashable) -> None:
        if piece in self._planned:
            self._over.add(piece)
        self.steps.progress.drop("reading", piece)

    def _tell(self, doing: str, unread: int) -> None:
        if not unread:
            self.steps.say(f"{doing} (read already)")
            return
        left = {piece: n for piece, n in self._planned.items() if piece not in self._over}
        most = "At most " if any(isinstance(piece, int) for piece in left) else ""
        plan = f"{most}{len(left)} passes over {sum(left.values()):,} texts in all"
        if self._told != most:
            self.steps.say(plan + self.steps.progress.note())
            self._told = most
        first = len(self._planned) - len(left) + 1
        last = first + unread - 1
        numbers = f"pass {first}" if unread == 1 else f"passes {first} to {last}"
        note = self.steps.progress.note(f"{numbers} of {len(self._planned)}")
        self.steps.say(doing + note)

    def _pass(
        self, group: Group, texts: Sequence[str], name: str, plan: AnyPlan | None
    ) -> KeptResponses:
        if group not in self._planned:  # what seemed to be kept is damaged
            self._plan(group, texts)
        readings = dict.fromkeys(
            reading for step in group for reading in self._wants[step].readings
        )
        number = len([piece for piece in self._planned if piece in self._over]) + 1
        costs, progress = _costs(texts), self.steps.progress

        @contextmanager
        def shown(total: int, there: int) -> Iterator[Advance]:
            # What is there already costs nothing now.
            rest = float(costs.sum()) * (1 - there / total)
            with (
                progress.doing("reading", group, rest) as advance,
                tqdm(total=1.0, desc=f"pass {number} of {len(self._planned)}, {name}") as bar,
            ):
                count = there

                def batch(rows: Int[np.ndarray, " row"]) -> None:
                    nonlocal count
                    count += len(rows)
                    advance(float(costs[rows].sum()))
                    bar.bar_format = (
                        f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {count:,}/{total:,} texts, "
                        f"{progress.left}"
                    )
                    bar.update(progress.share - bar.n)
                    self._time()

                yield batch

        kept = gather_on_disk(
            self.adapter, texts, list(readings), keep=self.folder, intervention=plan, progress=shown
        )
        self._end(group)
        return kept

    def _time(self) -> None:
        """Say once how long the run takes, as soon as that can be told."""
        seconds = self.steps.progress.seconds_left()
        if not self._timed and seconds is not None:
            self._timed = True
            with tqdm.external_write_mode():
                self.steps.say(f"{duration(seconds).capitalize()} at the speed of the first batch")


def _grouped(wanted: Mapping[str, Sequence[str]]) -> dict[Group, Sequence[str]]:
    """Part texts by which steps want them."""
    if len(wanted) == 1:
        ((step, texts),) = wanted.items()
        # Nothing is copied where many plans have the same texts.
        return {(step,): texts if len(set(texts)) == len(texts) else list(dict.fromkeys(texts))}
    wanted_by: dict[str, list[str]] = {}
    for step, texts in wanted.items():
        for text in dict.fromkeys(texts):
            wanted_by.setdefault(text, []).append(step)
    groups: dict[Group, list[str]] = {}
    for text, steps in wanted_by.items():
        groups.setdefault(tuple(steps), []).append(text)
    return dict(groups)


def _costs(texts: Sequence[str]) -> Int[np.ndarray, " text"]:
    """Give about what each text costs, in characters."""
    return np.array([len(text) + BESIDE_TEXT for text in texts])
