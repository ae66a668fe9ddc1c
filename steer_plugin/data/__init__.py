"""The corpus and the run files that ship with the package."""
