"""Promises of the first task of a run about what it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.keys import OPENED
from muster.events.model import EventType, NewEvent
from muster.language.definition import Definition
from muster.runs.opening import InputsDoNotFit, Opening, open_run
from support.children import Family, step
from support.runs import Site

SOURCE = (
    "automation: tested\ninputs: {invoices: {type: array, default: []}, month: {type: string, default: x}}\n"
    "steps:\n  - {id: one, human: {ask: Ok, assignees: [bob]}}\n"
)


def opening(definition: Definition, name: str = "r1", **conf: Any) -> Opening:
    return Opening(
        run=f"{definition.name}/{name}",
        dag_id=definition.name,
        dag_run_id=name,
        definition=definition,
        bundle_version=None,
        conf=conf,
    )


def test_an_input_that_is_not_declared_is_refused_with_those_there_are(site: Site) -> None:
    definition = site.definition(SOURCE)
    wrong = opening(definition, invoces=["a.xml"], month="may", colour="red")
    for _ in range(2):
        with pytest.raises(InputsDoNotFit) as refused:
            site.do(open_run(site.services, wrong))
        assert "there is no input `invoces`; there is no input `colour`" in refused.value.message
        assert refused.value.remedy is not None
        assert refused.value.remedy.startswith("Did you mean `invoices`? Its inputs are `invoices`, `month`.")
    (opened,) = site.services.log.read(wrong.run)
    assert opened.type == EventType.RUN_OPENED, "the run shows why it did not begin"


def test_of_a_run_about_somebody_the_name_is_not_repeated(site: Site) -> None:
    definition = site.definition(SOURCE.replace("steps:", "personal: {subject: '{{ inputs.month }}'}\nsteps:"))
    with pytest.raises(InputsDoNotFit) as refused:
        site.do(open_run(site.services, opening(definition, month="jane", **{"Jane Roe, flu": 1})))
    assert "Roe" not in f"{refused.value.message} {refused.value.remedy}"
    assert "Its inputs are `invoices`, `month`." in str(refused.value.remedy)


def test_what_airflow_and_muster_add_is_no_input(site: Site) -> None:
    definition = site.definition(SOURCE)
    added = {"openlineage": {"parentRunId": "x"}, "muster_parent": {"run": "a/b"}}
    assert site.do(open_run(site.services, opening(definition, month="may", **added))) == {
        "invoices": [],
        "month": "may",
    }


def test_a_run_that_an_earlier_release_has_opened_with_it_goes_on(site: Site) -> None:
    definition = site.definition(SOURCE)
    begun = opening(definition, month="may", colour="red")
    site.do(open_run(site.services, opening(definition, "other", month="may")))
    data = {**next(iter(site.services.log.read("tested/other"))).data, "dag_run_id": "r1"}
    site.services.log.append(begun.run, [NewEvent(type=EventType.RUN_OPENED, data=data, key=OPENED)])
    assert site.do(open_run(site.services, begun))["month"] == "may"


def test_a_run_that_was_asked_for_with_what_its_automation_lost_since_fails_the_step_that_asked(
    tmp_path: Path, database: Database
) -> None:
    child = "inputs: {name: {type: string, default: x}}\nsteps:\n" + step("pick")
    parent = "steps:\n  - {id: deliver, run: child, with: {name: x}, timeout: 1h}\n"
    family = Family(tmp_path, database, {"parent": parent, "child": child})
    run = family.open("parent")
    asked = family.ask(run, "deliver")
    edited = family.definitions["child"].model_copy(update={"inputs": {"names": {"type": "string", "default": "x"}}})
    begun = Opening(
        run=asked.run,
        dag_id="child",
        dag_run_id=asked.dag_run_id,
        definition=edited,
        bundle_version=None,
        conf=asked.conf,
    )
    with pytest.raises(InputsDoNotFit, match="no input `name`"):
        family.site.do(open_run(family.site.services, begun))
    family.site.close(asked.run, {"pick": "upstream_failed"})
    assert family.follow(run, "deliver", airflow="failed").status == "failed"
    assert family.depot.done == []
