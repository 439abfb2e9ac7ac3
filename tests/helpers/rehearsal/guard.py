"""Compiles guard.cpp once and loads it: half of it before torch is loaded, half after."""
from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from helpers.rehearsal import TRIED

SOURCE = Path(__file__).with_name("guard.cpp")


def obstacle() -> str | None:
    """Why there can be no rehearsal here; nothing where there can."""
    version = metadata.version("torch")
    if ".".join(version.split(".")[:2]) not in TRIED:
        return f"it was tried with torch {' and '.join(TRIED)}, and here is torch {version}"
    if sys.platform != "linux" or shutil.which("g++") is None:
        return "it takes Linux and a compiler (Debian, Ubuntu: sudo apt install g++)"
    return None


def load_before_torch() -> ctypes.CDLL:
    """The library; torch asks once, when it is loaded, whether there is a GPU."""
    if "torch" in sys.modules:
        raise ImportError("the rehearsal comes before torch, which was loaded already")
    if problem := obstacle():
        raise ImportError(f"no rehearsal of CUDA: {problem}")
    torch = Path(importlib.util.find_spec("torch").origin).parent
    key = hashlib.sha256(SOURCE.read_bytes() + str(torch).encode() + (torch / "version.py").read_bytes()).hexdigest()
    made = Path(tempfile.gettempdir()) / f"rehearsal_of_cuda_{os.getuid()}_{key[:16]}.so"
    if not made.exists():
        part = made.with_suffix(f".{os.getpid()}")
        subprocess.run(["g++", "-shared", "-fPIC", "-std=c++20", str(SOURCE), "-o", str(part), f"-I{torch}/include",
                        f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib", "-ltorch_cpu", "-lc10"], check=True)
        part.replace(made)
    return ctypes.CDLL(str(made))
