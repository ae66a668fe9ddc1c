"""What goes wrong, as a tree with one root.

Every message is one line: what was given, what was expected, what to do next, and the page
that says more where that is more than a line. The command line prints it and ends with exit code 1.
"""

from typing import Literal

Page = Literal["data", "how-to/plans", "models", "own-parts", "scale", "statistics"]
"""A page of the documentation: a file under docs/, and a page of the site."""


class SteerError(Exception):
    """Root of every error that this package raises on purpose."""

    def __init__(self, message: str = "", *, page: Page | None = None) -> None:
        """Say what is wrong.

        Args:
            message: of one line.
            page: what to read where the message advises more than it says.
        """
        super().__init__(message if page is None else f"{message}; see docs/{page}.md")


class CorpusError(SteerError):
    """Sentences that cannot be read or are not aligned."""


class ModelError(SteerError):
    """A model or tokenizer that cannot be loaded or used."""


class SiteError(SteerError):
    """A site that a model does not have, or a unit that a site does not have."""


class ScoreError(SteerError):
    """Responses or labels that no score is defined for."""


class SelectionError(SteerError):
    """A choice of units that cannot be made."""


class InterventionError(SteerError):
    """An intervention that is not defined, or does not fit the model."""


class AnalysisError(SteerError):
    """Embeddings or results that no figure is defined for."""


class ArtifactError(SteerError):
    """A saved result that cannot be written or read."""


class SettingsError(SteerError):
    """A run file that does not say what is needed."""
