"""The `muster` command."""


def main() -> None:
    """Run the command line."""
    import gc

    # Almost all objects of a command are modules and classes, which stay. Looking through them for garbage again and
    # again takes a sixth of the time of a short command; a long one still collects.
    gc.set_threshold(200_000)

    from muster.cli.app import app

    app()
