"""Airflow's public REST API, as the command line and the tests use it."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from muster.errors import MusterError, TransientError

_MISFIT = re.compile(r"Invalid input for param (\S+): ([^\n]*)(?:.*\nOn instance(\S*):)?", re.DOTALL)
"""How Airflow says that an input does not fit its schema: the name, why, and the place in it."""


class Unreachable(TransientError):
    """Airflow or a database does not answer."""


class NoAnswer(Unreachable):
    """Airflow was asked, and said nothing at all: no error either."""


class Paused(MusterError):
    """The run goes no further until its automation is unpaused."""

    def __init__(self, dag_id: str, run_id: str) -> None:
        super().__init__(
            f"{dag_id} is paused: {dag_id}/{run_id} goes no further.",
            remedy=f"`muster unpause {dag_id}` lets it go on.",
        )


def _certificates(url: str) -> ssl.SSLContext:
    """Who vouches for the server at `url`: for `http` nobody, because reading all authorities takes a while."""
    if url.startswith("https:"):
        return httpx.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class AirflowClient:
    """Signed in as one person; tokens are fetched when needed."""

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 30.0) -> None:
        self.username = username
        self._password = password
        self._token: str | None = None
        # Airflow is on this machine: proxies of the environment are not for it.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False, verify=_certificates(url))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> AirflowClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def health(self) -> dict[str, str]:
        """The status of each component as Airflow tells it: `healthy`, `unhealthy` or absent."""
        answer = self._send("GET", "/api/v2/monitor/health")
        return {name: (state or {}).get("status") or "unhealthy" for name, state in answer.json().items()}

    def dag(self, dag_id: str) -> dict[str, object] | None:
        """A Dag as Airflow lists it, None when there is no such Dag."""
        return self._get_or_none(f"/api/v2/dags/{dag_id}")

    def details(self, dag_id: str) -> dict[str, Any] | None:
        """All that Airflow says of a Dag, `params` included; None when there is no such Dag."""
        return self._get_or_none(f"/api/v2/dags/{dag_id}/details")

    def dags(self) -> list[dict[str, object]]:
        """Every Dag."""
        return list(self._pages("/api/v2/dags", "dags"))

    def paused(self) -> list[str]:
        """The ids of the Dags that are paused, sorted."""
        return sorted(str(dag["dag_id"]) for dag in self._pages("/api/v2/dags", "dags", paused=True))

    def pause(self, dag_id: str, *, paused: bool) -> bool:
        """Pause a Dag, or have it go on; False when there is no such Dag."""
        answer = self._send("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": paused}, accept=(404,))
        return answer.status_code != 404

    def ensure_goes_on(self, dag_id: str, run_id: str) -> None:
        """Ensure that Airflow goes on with a run that has not ended.

        Raises:
            Paused: its Dag is paused, so Airflow begins none of its tasks.
        """
        if (self.dag(dag_id) or {}).get("is_paused"):
            raise Paused(dag_id, run_id)

    def import_errors(self) -> list[dict[str, object]]:
        """Dag files that cannot be read, and why."""
        return list(self._pages("/api/v2/importErrors", "import_errors"))

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, object] | None = None,
        *,
        run_id: str | None = None,
        note: str | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """Start a run; returns the run and whether it is new. A run id that exists starts nothing.

        Raises:
            MusterError: there is no such Dag, or its inputs do not fit.
        """
        body = {"logical_date": None, "conf": conf or {}, "dag_run_id": run_id, "note": note}
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        # Asked first, because a start that Airflow refuses leaves a traceback in its log.
        if run_id is not None and (existing := self._get_or_none(f"{path}/{run_id}")) is not None:
            return existing, False
        answer = self._send(
            "POST",
            path,
            json={key: value for key, value in body.items() if value is not None or key == "logical_date"},
            accept=(400, 404, 409),
        )
        if answer.status_code == 400 and (misfit := _MISFIT.match(_detail(answer))):
            name, why, place = misfit.groups()
            raise MusterError(
                f"The input `{name}{place or ''}` of {dag_id} does not fit: {why.rstrip('.')}. Nothing was started."
            )
        # Somebody else has started the run between the question and the request.
        if answer.status_code == 409 and run_id is not None:
            existing = self._get_or_none(f"{path}/{run_id}")
            if existing is not None:
                return existing, False
        self._check(answer)
        return answer.json(), True

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """A Dag run, None when there is no such run."""
        return self._get_or_none(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")

    def runs(self, dag_id: str, *, state: Sequence[str]) -> list[dict[str, object]]:
        """The runs of a Dag that are in one of these states."""
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs", state=list(state)))

    def tasks(self, dag_id: str = "~", run_id: str = "~", **which: object) -> list[dict[str, Any]]:
        """The task instances of a run, or of all runs; `which` are Airflow's own filters."""
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances", **which))

    def approvals(self, dag_id: str = "~", run_id: str = "~") -> list[dict[str, Any]]:
        """What waits for a person, as `hitlDetails`."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/hitlDetails"
        return list(self._pages(path, "hitl_details", response_received=False))

    def answer(self, task: dict[str, object], option: str, values: dict[str, Any] | None = None) -> dict[str, object]:
        """Answer an approval; returns what Airflow stored, or only `detail`, in words, if more approvals are needed.

        Raises:
            MusterError: this person may not answer it, or it is not open any more.
        """
        path = (
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
            f"/{task['map_index']}/hitlDetails"
        )
        body = {"chosen_options": [option], "params_input": values or {}}
        answer = self._send("PATCH", path, json=body, accept=(403, 409))
        if answer.status_code == 403:
            raise MusterError(
                f"{self.username} may not answer {task['task_id']}: {_detail(answer).rstrip('.')}.",
                remedy="Name another person with --as.",
            )
        if answer.status_code == 409:
            raise MusterError(
                f"{task['task_id']} cannot be answered: {_detail(answer).rstrip('.')}.",
                remedy="`muster show` tells how it was decided.",
            )
        result: dict[str, object] = answer.json()
        return result

    def clear(
        self,
        dag_id: str,
        run_id: str,
        tasks: Sequence[str | tuple[str, int]],
        *,
        only_failed: bool = False,
        latest: bool = False,
    ) -> int:
        """Have tasks of a run performed again, on the version the run belongs to; returns how many they are.

        Args:
            tasks: Task ids, with the map index where only one of a task's instances is meant.
            only_failed: Leave alone what did not fail.
            latest: From now on the run belongs to the latest version of its Dag; what is new in that is performed too.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(tasks),
            "only_failed": only_failed,
            "run_on_latest_version": latest,
        }
        answer = self._send("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)
        return int(answer.json()["total_entries"])

    def fail(self, task: Mapping[str, Any]) -> None:
        """Stop a task instance, wherever it runs or waits, and count it as failed."""
        path = f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        if task["map_index"] >= 0:
            path += f"/{task['map_index']}"
        self._send("PATCH", path, json={"new_state": "failed"}, accept=(409,))

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float, interval: float = 0.5) -> dict[str, object]:
        """Wait until a run has ended.

        Raises:
            Paused: its Dag is paused.
            TransientError: it has not ended after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if run is not None and run["state"] in ("success", "failed"):
                return run
            self.ensure_goes_on(dag_id, run_id)
            if time.monotonic() > deadline:
                raise TransientError(f"The run {dag_id}/{run_id} has not ended after {timeout:.0f} s.")
            time.sleep(interval)

    def get(self, path: str, **parameters: object) -> Any:
        """Any GET, as JSON."""
        return self._send("GET", path, params=parameters).json()

    def _get_or_none(self, path: str) -> dict[str, object] | None:
        answer = self._send("GET", path, accept=(404,))
        return None if answer.status_code == 404 else answer.json()

    def _pages(self, path: str, key: str, **parameters: object) -> Iterator[dict[str, object]]:
        offset = 0
        while True:
            page = self.get(path, limit=100, offset=offset, **parameters)
            yield from page[key]
            offset += len(page[key])
            if not page[key] or offset >= page["total_entries"]:
                return

    def _send(self, method: str, path: str, *, accept: tuple[int, ...] = (), **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, headers=self._headers(path), **options)
            # The token may have expired, or a restart may have changed the key that signs tokens: once more with a new
            # one.
            if answer.status_code == 401 and self._token is not None:
                self._token = None
                answer = self._http.request(method, path, headers=self._headers(path), **options)
        except httpx.HTTPError as error:
            raise NoAnswer(
                f"Airflow does not answer at {self._http.base_url}: {error or type(error).__name__}.",
                remedy="Start it with `muster up`, or look at `muster status`.",
            ) from error
        if answer.status_code not in accept:
            self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        kind = Unreachable if answer.status_code >= 500 else MusterError
        raise kind(
            f"Airflow refused {answer.request.method} {answer.request.url.path} "
            f"({answer.status_code}): {_detail(answer)}"
        )

    def _headers(self, path: str) -> dict[str, str]:
        if path.endswith("/monitor/health"):
            return {}
        if self._token is None:
            answer = self._http.post("/auth/token", json={"username": self.username, "password": self._password})
            # Airflow answers 400 if the password is empty.
            if answer.status_code in (400, 401):
                raise MusterError(
                    f"Airflow does not know {self.username} with this password.",
                    remedy="Give it with MUSTER_PASSWORD; restart `muster up` if its logins were changed.",
                )
            self._check(answer)
            self._token = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, item.get('loc', [])[1:]))}: {item.get('msg')}" for item in detail)
    return str(detail.get("reason", detail)) if isinstance(detail, dict) else str(detail)
