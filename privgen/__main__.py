"""`python -m privgen`: the command line, where its script is not on the path; torchrun takes it as a module."""

from __future__ import annotations

from privgen.cli import main

if __name__ == "__main__":
    main(prog_name="privgen")
