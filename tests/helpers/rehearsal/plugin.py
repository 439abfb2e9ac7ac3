"""`pytest -p helpers.rehearsal.plugin`, or any other import of it: the GPU that REHEARSE_CUDA asks for."""
from helpers.rehearsal import GPU, asked_for
from helpers.rehearsal.install import install

install(*asked_for())


def pytest_report_header() -> str:
    major, minor = GPU.capability
    return f"CUDA: rehearsed on the CPU, capability {major}.{minor}{', with jitter' if GPU.jitter else ''}"
