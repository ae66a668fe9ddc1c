"""nnsight: a traced model as an adapter, here or on an NDIF server, and plans inside traces.

May import: adapters.shared and the core; nnsight, never transformer_lens.
"""

from steer_plugin.adapters.nnsight.ndif import NDIF, Traffic
from steer_plugin.adapters.nnsight.plan_in_trace import apply_in_trace
from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.shared.module_paths import ModulePaths, register_module_paths

__all__ = [
    "NDIF",
    "ModulePaths",
    "TraceAdapter",
    "Traffic",
    "apply_in_trace",
    "register_module_paths",
]
