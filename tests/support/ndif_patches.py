"""Every patch that NDIF 0.1.2, nnsight 0.8.1 and transformers 5.23 need to work together.

Each says why it is there and when it can go, and does nothing where its reason does not hold. What
a patch needs is imported inside it: the tests' own environment has neither Ray nor NDIF.
"""

import functools
import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def find_preprocessors_by_class() -> None:
    """Let a model without weights know that its task loads a tokenizer.

    nnsight 0.8.1 reads `_load_tokenizer` and its like off the pipeline class of a task; in
    transformers 5.23 `check_task` gives that class as an import path, so a model on meta finds none
    and stops with "Impossible to guess which tokenizer to use". The controller builds models so, to
    size them, and so does a client that passes no tokenizer.

    Goes when nnsight resolves the path itself.
    """
    from nnsight.modeling.transformers import TransformersModel
    from nnsight.util import from_import_path
    from transformers.pipelines import check_task

    if not isinstance(check_task("text-generation")[1]["impl"], str):
        return
    flags = {
        "tokenizer": "_load_tokenizer",
        "image_processor": "_load_image_processor",
        "feature_extractor": "_load_feature_extractor",
        "processor": "_load_processor",
    }

    def loaded_preprocessors(self: Any) -> set[str]:
        pipeline = from_import_path(check_task(self.task)[1]["impl"])
        return {name for name, flag in flags.items() if getattr(pipeline, flag, False)}

    TransformersModel._loaded_preprocessors = loaded_preprocessors


def describe_without_trust() -> None:
    """Let the controller size a model.

    NDIF 0.1.2 passes `trust_remote_code` to two methods that take it no more in nnsight 0.8.1, so
    that no model can be deployed.

    Goes when NDIF stops passing it, or nnsight takes it again.
    """
    from nnsight.modeling.mixins.remotable import Remotable

    for name in ("describe_checkpoint", "max_tp_size"):
        method = getattr(Remotable, name).__func__
        kinds = {parameter.kind for parameter in inspect.signature(method).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            setattr(Remotable, name, classmethod(_without_trust(method)))


def _without_trust(method: Any) -> Any:
    @functools.wraps(method)
    def call(cls: Any, *args: Any, trust_remote_code: bool = False, **settings: Any) -> Any:  # noqa: ARG001
        return method(cls, *args, **settings)

    return call


def upload_without_save() -> str:
    """Give settings of nnsight, for the API alone, that let it take uploads above 1 MB.

    nnsight gives every Python object a `save`, also the classes that anyio 4.16 makes when they are
    first needed. With it anyio refuses to make them, and the API answers "There was an error
    parsing the body". The API runs no traces, so it needs no `save`.

    Goes when such an upload works without.
    """
    return "APP:\n  PYMOUNT: false\n"


def list_without_dashboard() -> None:
    """List nodes and actors from Ray's own state.

    NDIF's controller asks Ray's dashboard for them. Its processes cost a small machine some seconds
    and several hundred MB, so the tests' server runs without it.

    Goes when NDIF asks Ray's state, or the server runs with the dashboard.
    """
    import ray
    from ndif.services.ray.deployments.controller import controller
    from ndif.services.ray.deployments.controller.cluster import cluster
    from ray._private.state import actors

    def list_nodes(**_: Any) -> list[Any]:
        return [
            SimpleNamespace(
                node_id=node["NodeID"],
                node_name=node["NodeName"],
                resources_total=node["Resources"],
                labels=node["Labels"],
            )
            for node in ray.nodes()
            if node["Alive"]
        ]

    def list_actors(**_: Any) -> list[Any]:
        return [
            SimpleNamespace(name=actor["Name"], state=actor["State"]) for actor in actors().values()
        ]

    cluster.list_nodes = list_nodes
    controller.list_actors = list_actors


def patch_sandbox() -> None:
    """Let the processes that run strangers' requests find preprocessors by class too.

    They start without the environment of the server, so the patch comes with the folder in which
    they look for NDIF: Python imports `sitecustomize` from there before anything else.

    Goes with `find_preprocessors_by_class`.
    """
    from ndif.services.ray.sandbox import host

    code = Path(__file__).parent
    start = code / "sandbox"
    start.mkdir(exist_ok=True)
    (start / "sitecustomize.py").write_text(
        "import ndif_patches\nndif_patches.find_preprocessors_by_class()\n", encoding="utf-8"
    )
    if not host._PACKAGE_ROOT.startswith(str(start)):
        host._PACKAGE_ROOT = os.pathsep.join([str(start), str(code), host._PACKAGE_ROOT])
