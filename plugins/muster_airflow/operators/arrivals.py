"""Starts runs for files that are new in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from muster.errors import TransientError
from muster_airflow.egress import leaves, note

if TYPE_CHECKING:
    from muster.triggers.arrivals import Batch


class StartRuns(BaseOperator):
    """Claims the new files of a folder and starts one run with all of them.

    The run's id follows from the files, so a repeated attempt finds the run that is there already.

    Args:
        automation: the Dag whose run is started.
        path: the folder.
        match: name patterns.
        input: the input that is given the files' URIs.
        inputs: the inputs to which any watch of the automation gives files.
    """

    custom_operator_name = "files"
    ui_color = "#f1f5f9"

    def __init__(
        self, *, automation: str, path: str, match: list[str], input: str, inputs: list[str], **kwargs: Any
    ) -> None:
        super().__init__(retries=3, **kwargs)
        self.automation = automation
        self.path = path
        self.match = match
        self.input = input
        self.inputs = inputs

    @leaves
    def execute(self, context: Context) -> list[str]:
        """Start the runs; the XCom is the list of their ids."""
        # Imported here, because the import brings the database's client, which Dag parsing must not pay for.
        from muster.triggers.arrivals import Watch, claim, look, started, waiting
        from muster.triggers.watching import wait_until_settled
        from muster_airflow.services import services_in_worker

        services = services_in_worker(context)
        database = services.database
        watch = Watch(self.automation, self.path, self.input, tuple(self.inputs))
        wait_until_settled(
            self.path, self.match, lambda found: waiting(database, self.automation, found, services.log.digest)
        )
        arrived = look(self.path, self.match, tell=lambda why: note("warning", "a file is passed over", why=why))
        batches = claim(database, watch, arrived, services.log.digest)
        for batch in batches:
            self._start(batch)
            # Noted after Airflow has the run. A process that dies in between asks for the same run again, because the
            # run's id follows from the files. Noted before, the files would count as started and no run would have
            # them.
            started(database, self.automation, batch)
        return [_run_id(batch) for batch in batches]

    def _start(self, batch: Batch) -> None:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

        asked = TriggerDagRun(
            dag_id=self.automation,
            run_id=_run_id(batch),
            conf={self.input: list(batch.uris)},
            reset_dag_run=False,
        )
        # A run that exists is the one: an earlier attempt died between starting it and noting that. It must not be
        # reset, because it may be at work.
        answer = task_runner.SUPERVISOR_COMMS.send(asked)
        if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
            raise TransientError(f"Airflow did not start a run of {self.automation}: {answer.error}.")


def _run_id(batch: Batch) -> str:
    return f"files__{batch.name}"
