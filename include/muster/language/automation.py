"""The model of an automation as a person writes it, and of the folder files around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from muster.language.durations import Duration
from muster.language.fields import Line, Text, Values
from muster.language.kinds import Step
from muster.language.personal import Personal
from muster.language.shares import Context
from muster.language.steps import Retry, Target, union_of
from muster.language.triggers import Trigger
from muster.yaml_model import Name, SkillName, Usd, YamlModel


class Deadline(YamlModel):
    """Who is told when a run takes too long. The run goes on. One that has ended is not late; a stuck one has not."""

    within: Duration
    """How long a run may take from the moment it is queued."""
    notify: Annotated[list[Target], Field(min_length=1)]
    """Who is told."""


class Budget(YamlModel):
    """What one run may spend: checked before each call of a model, and before each retry."""

    usd: Usd | None = None
    """The most US dollars one run may cost; default: no limit."""
    retries: int | None = Field(default=None, ge=0, le=100_000)
    """The most retries that all steps of one run may use together, its compensations aside; default: no limit. A
    person's restart begins with a full budget."""


class CheckBase(YamlModel):
    """What every check has."""

    name: Name
    """What it is called in reports."""
    schedule: str | None = Field(default=None, min_length=1, max_length=200)
    """When the reconciler asks, in UTC, written as in a `schedule` that starts runs; default: each time it looks. After
    it has mended something it asks all."""


class SqlCheck(CheckBase):
    """What must always hold in the database."""

    sql: Text
    """A query in the database of Muster that finds what is wrong; when all is well it answers no rows."""


class SkillCheck(CheckBase):
    """What must always hold, looked at by a skill."""

    skill: SkillName
    """A skill that only looks. What it gives back is what is wrong: all is well with `true`, nothing or an empty list.
    An error that cannot pass is an answer, too."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """The skill's arguments by name; `settings` may be used."""


if TYPE_CHECKING:
    Check = SqlCheck | SkillCheck
else:
    Check = union_of({"sql": SqlCheck, "skill": SkillCheck})
"""What must always hold."""


class StepDefaults(YamlModel):
    """What every step has that does not say otherwise; left out where a kind of step does not know it."""

    retry: Retry | None = None
    """How a failed attempt is repeated."""
    timeout: Duration | None = None
    """How long one attempt may take."""
    priority: int | None = Field(default=None, ge=1, le=1000)
    """Airflow's priority weight."""
    pool: str | None = Field(default=None, min_length=1, max_length=256)
    """The Airflow pool."""


class FolderDefaults(YamlModel):
    """A file `_defaults.yaml`: what the automations of its folder and the folders below have in common."""

    category: Name | None = None
    """The category, a tag in Airflow."""
    department: Name | None = None
    """The department the work is done for."""
    owner: str | None = Field(default=None, min_length=1, max_length=200)
    """The team or person who answers for it."""
    triggers: list[Trigger] | None = None
    """What starts a run."""
    deadlines: list[Deadline] | None = None
    """Who is told when a run takes too long."""
    incidents: list[Target] | None = None
    """Who is told when a run is stuck."""
    budget: Budget | None = None
    """What one run may spend."""
    defaults: StepDefaults | None = None
    """What every step has that does not say otherwise."""
    settings: dict[Name, object] | None = None
    """Settings for these automations."""


class Automation(YamlModel):
    """A business process: one YAML file, compiled to one Airflow Dag."""

    automation: Name
    """The name: the Dag's id, and unique among all automations."""
    title: Line | None = None
    """The name people read; default: the name in words."""
    category: Name = "general"
    """The category, a tag in Airflow."""
    department: Name | None = None
    """The department the work is done for."""
    owner: str | None = Field(default=None, min_length=1, max_length=200)
    """The team or person who answers for it."""
    description: Text | None = None
    """What it does, in a sentence or two."""
    extends: Text | None = None
    """A file this one builds upon, relative to its own folder."""
    triggers: list[Trigger] = []
    """What starts a run, besides a person or the API: at most one schedule, any number of file triggers."""
    inputs: dict[Name, dict[str, object]] = {}
    """What a run is given: a JSON Schema by name; also the trigger form. Without `default` it is required."""
    deadlines: list[Deadline] = []
    """Who is told when a run takes too long."""
    incidents: list[Target] = []
    """Who is told when a run is stuck: a compensation has failed, and a person must act."""
    checks: list[Check] = []
    """What must hold whatever its runs do: looked at by the reconciler, `muster check` and `muster test`."""
    budget: Budget | None = None
    """What one run may spend; default: no limit."""
    defaults: StepDefaults = StepDefaults()
    """What every step has that does not say otherwise."""
    personal: Personal | None = None
    """Which data is about a person; default: none."""
    shared_context: Context | None = None
    """What its steps know together; default: nothing."""
    settings: dict[Name, object] = {}
    """Settings of this automation; they win over the folder's and the site's."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=500)]
    """What is done, in order."""
