"""What a model answers to many texts, in memory or kept on disk: probes, embeddings.

May import: models and what that may.
"""

from steer_plugin.responses.disk_matrix import DiskMatrix
from steer_plugin.responses.embeddings import Embeddings, embed, embed_layers
from steer_plugin.responses.forward_pass import KeptResponses, Responses, gather, gather_on_disk
from steer_plugin.responses.pass_cache import Cache
from steer_plugin.responses.probe import Probe, ProbeUnder, probe_under, probe_units

__all__ = [
    "Cache",
    "DiskMatrix",
    "Embeddings",
    "KeptResponses",
    "Probe",
    "ProbeUnder",
    "Responses",
    "embed",
    "embed_layers",
    "gather",
    "gather_on_disk",
    "probe_under",
    "probe_units",
]
