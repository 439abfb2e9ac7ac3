"""With this folder and tests/ on PYTHONPATH, every Python that is started has the rehearsed GPU."""
import helpers.rehearsal.plugin  # noqa: F401
