"""`python -m muster.cli`: the `muster` command without its entry script."""

from muster.cli import main

if __name__ == "__main__":
    main()
