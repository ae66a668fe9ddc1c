"""When two texts are the same text, whatever characters write it, and which texts are known."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

# Without width, and neither control nor format characters by their category: joiners, fillers,
# variation selectors; Unicode's Default_Ignorable_Code_Point.
_IGNORED = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
)
_INVISIBLE = re.compile(f"[{_IGNORED}]")
# No letter, no space by its category, and nothing to see.
_BLANK = re.compile("\u2800")
_QUOTED = 12
"""Characters that a sentence has at least, to be looked for within a line: "Thank you." stands in
many that do not quote it."""


def is_blank(text: str) -> bool:
    """Tell whether there is nothing to read in a text."""
    # Letter by letter, and most texts end at their first.
    return all(not normal_form(character) for character in text)


def normal_form(text: str) -> str:
    """Write a text without what cannot be seen of it.

    Characters are composed (Unicode's NFC), control and format characters and others without width
    are left out, and any run of spaces or line ends is one space, at the ends none.
    """
    if not text.isprintable():
        text = "".join(
            character
            for character in text
            if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf")
        )
    text = _BLANK.sub(" ", _INVISIBLE.sub("", text))
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True, eq=False, repr=False)
class KnownTexts:
    """Texts to look others up among, by their normal form.

    Attributes:
        forms: see `normal_form`.
    """

    forms: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "KnownTexts":
        """Know these texts."""
        return cls(frozenset(map(normal_form, texts)))

    def __contains__(self, text: str) -> bool:
        """Tell whether a text is one of them."""
        return normal_form(text) in self.forms

    def quoted_in(self, document: str) -> bool:
        """Tell whether one of them is a document, a line of it, or, where it is longer, in one."""
        if document in self or any(line in self for line in document.splitlines()):
            return True
        whole = normal_form(document)
        return any(
            whole.startswith(form, place)
            for place in range(len(whole) - _QUOTED + 1)
            for form in self._by_start.get(whole[place : place + _QUOTED], ())
        )

    @cached_property
    def _by_start(self) -> Mapping[str, list[str]]:
        starts: dict[str, list[str]] = {}
        for form in self.forms:
            if len(form) >= _QUOTED:
                starts.setdefault(form[:_QUOTED], []).append(form)
        return starts
