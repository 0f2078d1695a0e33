"""The `muster` command."""


def main() -> None:
    """Run the command line."""
    from muster.cli.app import app

    app()
