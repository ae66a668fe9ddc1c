"""Which TransformerLens is installed: its versions map and compute some architectures otherwise."""

from importlib.metadata import version

# What docs/models.md tells. Before, the norm after an attention or an MLP has the name of the one
# ahead of it, so that what OLMo 2, EXAONE 4 and their like add to the residual stream has no place.
MAPPED = (4, 3)


def is_older_than(release: tuple[int, int]) -> bool:
    """Compare the installed version.

    Args:
        release: major and minor.
    """
    major, minor = version("transformer-lens").split(".")[:2]
    return (int(major), int(minor)) < release


def advice() -> str:
    """Say, after a site that has no place, that a newer version might give it one."""
    if not is_older_than(MAPPED):
        return ""
    return " (transformer-lens>={}.{} maps more, see docs/models.md)".format(*MAPPED)
