"""Promises of the versions in the database: what comes out is what was published, and what a run needs stays."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.events import bundles
from muster.events.bundles import BundleStore, VersionGone, version_of

FILES = {"dags/automations.py": b"x = 1\n", "include/automations/one.yaml": b"automation: one\n" * 100}


@pytest.fixture
def store(database: Database) -> BundleStore:
    return BundleStore(database)


def numbered(number: int) -> dict[str, bytes]:
    return {"dags/automations.py": f"x = {number}\n".encode()}


def age(dsn: str, version: str, days: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE bundle_versions SET published_at = published_at - make_interval(days => %s) WHERE version = %s",
            (days, version),
        )


def test_a_version_comes_out_as_it_went_in(store: BundleStore) -> None:
    version = store.put("muster", FILES)
    assert version == version_of(FILES)
    assert store.get(version) == ("muster", FILES)
    assert store.put("muster", FILES) == version
    assert store.versions("muster") == [version]


def test_what_was_published_last_is_the_latest(store: BundleStore) -> None:
    one, two = store.put("muster", numbered(1)), store.put("muster", numbered(2))
    assert store.versions("muster") == [two, one]
    store.put("muster", numbered(1))
    assert store.versions("muster") == [one, two]
    assert store.versions("other") == []


def test_a_schedule_counts_from_the_version_that_brought_it(store: BundleStore) -> None:
    one = store.put("muster", numbered(1))
    first = store.schedule("muster", one, {"a": "@daily", "b": "@daily"})
    assert {each.schedule for each in first.values()} == {"@daily"}
    two = store.put("muster", numbered(2))
    second = store.schedule("muster", two, {"a": "@daily", "b": "@hourly", "c": "@daily"})
    assert second["a"] == first["a"]
    assert first["b"].since < second["b"].since
    assert store.schedule("muster", one, {"a": "@daily", "b": "@daily"}) == first
    store.put("muster", numbered(1))
    assert store.schedule("muster", one, {"a": "@daily", "b": "@daily"})["b"].since > second["b"].since
    assert store.schedule("muster", one, {"a": "@daily", "b": "@daily"})["a"] == first["a"]


def test_a_version_whose_schedules_nobody_noted_changes_no_time(store: BundleStore) -> None:
    given = {"a": "@daily"}
    first = store.schedule("muster", store.put("muster", numbered(1)), given)
    store.put("muster", numbered(2))
    assert store.schedule("muster", store.put("muster", numbered(3)), given) == first
    # One that was noted to have none does.
    store.schedule("muster", store.put("muster", numbered(4)), {})
    assert store.schedule("muster", store.put("muster", numbered(5)), given)["a"].since > first["a"].since


def test_the_schedules_of_a_version_that_is_gone_are_refused_in_words(store: BundleStore) -> None:
    with pytest.raises(VersionGone, match="does not hold the bundle version"):
        store.schedule("muster", version_of(FILES), {"a": "@daily"})


def test_two_that_note_a_version_at_once_are_told_the_same(store: BundleStore) -> None:
    for number in range(10):
        given = ("muster", store.put("muster", numbered(number)), {"a": f"{number} 0 * * *"})
        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(store.schedule, *zip(*[given] * 4, strict=True)))
        assert told[1:] == told[:-1]


def test_a_time_to_come_does_not_stay_the_latest(store: BundleStore) -> None:
    ahead = store.put("muster", numbered(1), published_at=datetime.now(UTC) + timedelta(days=300))
    now = store.put("muster", numbered(2))
    assert store.versions("muster") == [now, ahead]


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(packed("dags/automations.py", b"import os\n"), id="another"),
        pytest.param(b"", id="empty"),
        pytest.param(b"no zip", id="no zip"),
        pytest.param(packed("../../outside.py", b"x = 1\n"), id="outside"),
        pytest.param(packed("dags/automations.py", bytes(bundles.LARGEST + 1)), id="a bomb"),
    ],
)
def test_a_version_that_was_changed_in_the_database_is_refused(store: BundleStore, dsn: str, content: bytes) -> None:
    version = store.put("muster", FILES)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE bundle_versions SET content = %s", (content,))
    with pytest.raises(VersionGone, match=f"{version} is not what was published"):
        store.get(version)
    store.put("muster", FILES)
    assert store.get(version) == ("muster", FILES), "publishing it again heals it"


def test_half_a_version_is_refused(store: BundleStore, dsn: str) -> None:
    version = store.put("muster", FILES)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE bundle_versions SET content = substring(content FOR length(content) / 2)")
    with pytest.raises(VersionGone, match="not what was published"):
        store.get(version)


def test_a_version_that_is_nowhere_is_refused_in_words(store: BundleStore) -> None:
    with pytest.raises(VersionGone, match="does not hold the bundle version") as refused:
        store.get("0123456789abcdef")
    assert refused.value.remedy


def test_a_version_that_is_too_large_is_refused_in_words(store: BundleStore) -> None:
    with pytest.raises(PermanentError, match=r"are 32\.0 MiB together, and a version holds at most 32 MiB"):
        store.put("muster", {"include/automations/one.yaml": bytes(bundles.LARGEST + 1)})


def test_pruning_keeps_what_a_run_or_airflow_needs(store: BundleStore, dsn: str) -> None:
    kept = {name: store.put("muster", numbered(number)) for number, name in enumerate(NEEDED)}
    for days, name in zip(range(len(NEEDED), 0, -1), NEEDED, strict=True):
        age(dsn, kept[name], days * 10)
    yesterday, latest = store.put("muster", numbered(100)), store.put("muster", numbered(101))
    other = store.put("other", numbered(0))
    with psycopg.connect(dsn) as connection:
        for name in ("open", "stuck", "succeeded", "failed", "unknown"):
            connection.execute(
                "INSERT INTO runs (id, status, bundle_version, calls, cost_usd) VALUES (%s, %s, %s, 0, 0)",
                (name, None if name == "unknown" else name, kept[name]),
            )
    # The last of them was the latest until a moment ago.
    gone = {kept[name] for name in ("succeeded", "failed", "never run")}
    assert set(store.prune("muster", [kept["known to Airflow"]])) == gone
    assert set(store.versions("muster")) == {*kept.values(), yesterday, latest} - gone
    assert store.versions("other") == [other]
    assert store.prune("muster", [kept["known to Airflow"]]) == []


NEEDED = ("open", "stuck", "succeeded", "failed", "unknown", "known to Airflow", "never run", "the latest until now")
