"""Whether a folder is a published version of a bundle: asked by each Dag file, so without what only a bundle needs."""

from __future__ import annotations

from pathlib import Path

from airflow.dag_processing.bundles.base import get_bundle_storage_root_path


def is_published(folder: Path) -> bool:
    """True for the folder of a version below Airflow's storage: only a bundle writes there, and only what was valid."""
    storage, folder = get_bundle_storage_root_path().resolve(), folder.resolve()
    if not folder.is_relative_to(storage) or folder.parts[len(storage.parts) :][1:2] != ("versions",):
        return False
    # Imported only for a folder below Airflow's storage: the database's driver takes longer to import than a Dag to
    # build.
    from muster.events.bundles import is_version

    return is_version(folder.name)
