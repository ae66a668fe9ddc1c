"""NDIF's model actor and controller for a machine without a GPU; NDIF imports them by name."""

import gc
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import ndif_patches  # beside it, where NDIF runs

ndif_patches.find_preprocessors_by_class()
ndif_patches.describe_without_trust()
ndif_patches.list_without_dashboard()
ndif_patches.patch_sandbox()

import ray  # noqa: E402
from ndif.services.ray.deployments.controller import controller  # noqa: E402
from ndif.services.ray.deployments.modeling.base import BaseModelDeployment  # noqa: E402
from ndif.services.ray.sandbox.model import SandboxHost  # noqa: E402
from nnsight.modeling.huggingface import HuggingFaceModel  # noqa: E402

# A folder with one file for each model actor that is ready: its name is the process id.
ACTORS = "STEER_NDIF_ACTORS"
# Model keys and the seconds that a request to each may take, as JSON.
TIMEOUTS = "STEER_NDIF_TIMEOUTS"


class CPUModel(SandboxHost, BaseModelDeployment):
    """NDIF's own actor, with its sandbox; only what touches CUDA is done otherwise."""

    # There is no GPU to leave, so a model is deployed or it is not.
    CACHEABLE = False

    def __init__(self, *args: Any, gpu_mem_bytes_by_id: Any, **settings: Any) -> None:  # noqa: ARG002
        """Load the model without a GPU's limits, then tell the tests which process holds it."""
        self.execution_sandbox = None
        self.ending = threading.Lock()
        super().__init__(*args, gpu_mem_bytes_by_id={}, **settings)
        # To look for garbage among the modules after each request takes longer than most requests.
        gc.freeze()
        Path(os.environ[ACTORS], str(os.getpid())).write_text(self.model_key, encoding="utf-8")

    def load_from_disk(self) -> Any:
        """Load the weights into memory."""
        model = HuggingFaceModel.from_model_key(
            self.model_key, dispatch=True, dtype=self.dtype_name, device="cpu", **self.kwargs
        )
        model._module.requires_grad_(False)
        return model

    def execute(self, request: Any) -> Any:
        """Run a request whose key is not trusted in a process of its own.

        NDIF 0.1.2 stops a thread also when its request has just ended. The exception then ends the
        idle thread, the pool still counts on it, and no request is run again.
        """
        try:
            if request.trusted:
                return super().execute(request)
            if not hasattr(self, "pool"):
                self.open_pool(1)
            return self.run_in_runner(request, None)
        finally:
            with self.ending:
                self.execution_ident = None
            for _ in range(100):  # an exception that is under way arrives here
                pass

    def interrupt(self) -> None:
        """Stop the thread of a request that has not ended."""
        with self.ending:
            super().interrupt()

    def cleanup(self) -> None:
        """Forget a request."""
        self.discard_sandbox()
        self.kill_switch.clear()
        self.kill_reason = None
        self.execution_ident = None
        self.model.interleaver.cancel()
        gc.collect()


@ray.remote(num_cpus=0, max_restarts=-1)
class CPUModelActor(CPUModel):
    """What `NDIF_MODEL_IMPORT_PATH` names."""


class Controller(controller._ControllerActor):
    """NDIF's own controller, with a time limit for some models.

    Ray sends a decorated class by value and its bases by name: because of this base, the
    controller's process imports this module, and so is patched.
    """

    def _deploy(self, deployments: Any) -> Any:
        configs = controller.DeploymentConfig.normalize(deployments)
        timeouts = json.loads(os.environ[TIMEOUTS])
        for key, config in configs.items():
            config.execution_timeout_seconds = timeouts.get(key)
        return super()._deploy(configs)


@ray.remote(num_cpus=0, max_restarts=-1, resources={"head": 1})
class CPUController(Controller):
    """What `NDIF_CONTROLLER_IMPORT_PATH` names."""


def launch(host: str, port: int, client_port: int) -> None:
    """Start the controller in a Ray that is starting itself; importing NDIF takes as long.

    Args:
        host: where Ray listens.
        port: Ray's own port.
        client_port: the last that it opens.
    """
    while True:
        with socket.socket() as ray_client:
            if ray_client.connect_ex((host, client_port)) == 0:
                break
        time.sleep(0.05)
    ray.init(address=f"{host}:{port}", namespace="NDIF", logging_level="error")
    controller.app()
