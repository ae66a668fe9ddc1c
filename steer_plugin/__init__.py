"""Find expert units of a multilingual language model, steer them, and measure what changes.

The system of Sundar et al. 2025, "Steering into New Embedding Spaces" (arXiv 2502.15639), for
TransformerLens and nnsight. The public names are listed in `__init__.pyi` and imported on first
use, so that the command line answers before torch is imported.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
