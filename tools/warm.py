"""Kernels that start at once: one process imports what every chapter imports, and forks for each of them."""
from __future__ import annotations

import multiprocessing
import os
import sys
from importlib.metadata import EntryPoint
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

IMPORTED = ("ipykernel.kernelapp", "torch", "torch._dynamo", "matplotlib.pyplot", "scipy.ndimage", "accelerate",
            *(f"medlearn.{room}" for room in ("data", "losses", "metrics", "nets", "physics", "train", "viz")))
INLINE = "module://matplotlib_inline.backend_inline"
HERE = Path(__file__).parent


def use() -> None:
    """Let every kernel that this process starts from now on be forked."""
    multiprocessing.set_forkserver_preload(["__main__", *IMPORTED])
    # matplotlib asks for its backend when it is imported, which is before a kernel says it
    with mock.patch.dict(os.environ, {"MPLBACKEND": os.environ.get("MPLBACKEND") or INLINE}):
        forkserver.ensure_running()
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:Forked", factory.GROUP_NAME)
    factory.default_provisioner_name = "forked"


class Forked(LocalProvisioner):
    """Starts a kernel as a fork of the process that has imported everything."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        options = cmd[cmd.index("ipykernel_launcher") + 1:]
        self.process = _Kernel(target=_serve, args=(options, str(kwargs["cwd"]), kwargs["env"]))
        self.process.start()
        self.pid, self.cwd = self.process.pid, kwargs["cwd"]
        return self.connection_info


class _Kernel(multiprocessing.get_context("forkserver").Process):
    """A process that also answers to the names that `subprocess.Popen` has for its methods."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.join(timeout)
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _serve(options: list[str], folder: str, environment: dict[str, str]) -> None:
    """In the fork: be the kernel that a fresh Python would have been."""
    os.setsid()  # Ctrl-C in the terminal is not meant for it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    told = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*told, *(path for path in sys.path if path not in (*told, str(HERE)))]
    from ipykernel.kernelapp import launch_new_instance

    # the kernel ends when its parent does
    launch_new_instance(argv=[*options, f"--IPKernelApp.parent_handle={os.getppid()}"])
