"""`python -m medlearn`, and `torchrun -m medlearn`: the command line."""
from medlearn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
