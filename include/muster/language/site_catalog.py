"""What the automations of a site may use: its settings, agents, skills and operators."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from muster.agents.spec import AgentFile, AgentSpec
from muster.documents import wrong_settings
from muster.files import files_below
from muster.isolation.spec import wrong_commands
from muster.language.ancestry import INSTEAD, SKIPS, skips_others, starts_runs
from muster.language.commands import check_command
from muster.language.explain import Located, validate
from muster.language.expressions import texts
from muster.language.importing import Obstacle, obstacle
from muster.language.problems import LanguageError, Problem, did_you_mean
from muster.language.reading import Path as SourcePath
from muster.language.reading import merged
from muster.language.returns import mistake
from muster.language.secret_settings import check_secrets
from muster.language.signatures import Signature, signature
from muster.language.source import Source, read_source
from muster.language.steps import Needs
from muster.skills.index import SkillIndex, skill_index

ENVIRONMENT = "MUSTER_ENVIRONMENT"
"""The environment variable that names the settings file to use besides `settings.yaml`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE = re.compile(r"^[^\s${}]*(\$\{[A-Za-z_]\w*\})\S*$")
"""A word that a variable of the shell is, or is a part of; in a longer text it may be a command's."""


class Agents:
    """The agents of a folder by id, read when first asked for."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        skills: SkillIndex,
        *,
        settings: Mapping[str, object] | None = None,
        published: bool = False,
    ) -> None:
        self._folder, self._root, self._skills, self._published = folder, root, skills, published
        self._settings = settings or {}

    def get(self, agent_id: str) -> AgentSpec | None:
        """The agent of that id, or None."""
        return self.by_id.get(agent_id)

    def fitting(self, needs: Needs) -> list[AgentSpec]:
        """The agents with all skills needed, those with the fewest others first; by id among equals."""
        wanted = set(needs.skills)
        able = [
            agent
            for agent in self.by_id.values()
            if wanted <= set(agent.skills) and needs.department in (None, agent.department)
        ]
        return sorted(able, key=lambda agent: (len(agent.skills), agent.id))

    @property
    def by_id(self) -> dict[str, AgentSpec]:
        """Every valid agent, sorted by id."""
        return self._read[0]

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with the agent files."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[dict[str, AgentSpec], list[Problem]]:
        by_id: dict[str, tuple[AgentSpec, Source, int]] = {}
        problems: list[Problem] = []
        for path in sorted(
            path for path in map(Path, files_below(self._folder, (".yaml",))) if path.parent == self._folder
        ):
            try:
                source = read_source(path, name=shown(path, self._root), published=self._published)
                secrets = list(check_secrets(source))
                problems.extend(secrets)
                # An agent becomes a part of definitions, which are stored for good, so it must hold no secret.
                if secrets and not self._published:
                    continue
                specs = validate(AgentFile, source).specs()
            except LanguageError as error:
                problems.extend(error.problems)
                continue
            for position, agent in enumerate(specs):
                place = ("agents", position)
                problems.extend(self._unknown_skills(agent, source, place))
                problems.extend(check_command(agent, source, place, root=self._root, settings=self._settings))
                if wrong := mistake(agent.returns, self._skills):
                    problems.append(source.problem(wrong[0], (*place, "returns"), suggestion=wrong[1]))
                if agent.id in by_id:
                    problems.append(_twice(agent, by_id[agent.id], source, position))
                else:
                    by_id[agent.id] = (agent, source, position)
        return {agent_id: by_id[agent_id][0] for agent_id in sorted(by_id)}, problems

    def _unknown_skills(self, agent: AgentSpec, source: Source, place: tuple[str | int, ...]) -> list[Problem]:
        named = [(skill, (*place, "tools", position)) for position, skill in enumerate(agent.tools)]
        if agent.offline is not None:
            named.append((agent.offline, (*place, "offline")))
        return [
            source.problem(
                f"there is no skill `{skill}`",
                path,
                suggestion=self._skills.unreadable(skill) or did_you_mean(skill, self._skills.entries),
            )
            for skill, path in named
            if self._skills.get(skill) is None
        ]


def _twice(agent: AgentSpec, first: tuple[AgentSpec, Source, int], source: Source, position: int) -> Problem:
    place = first[1].problem("", ("agents", first[2], "id")).where
    message = f"there are two agents `{agent.id}`; the other is at {place}"
    return source.problem(message, ("agents", position, "id"), suggestion="Rename one of them.")


_WRITE_VALUE = (
    f"Write the value. One for this place only stands in `settings.<environment>.yaml`, which {ENVIRONMENT} names; a"
    " secret, in an Airflow connection."
)


@dataclass(frozen=True)
class SiteCatalog:
    """Everything outside the file that its definition depends on."""

    root: Path
    """The folder that holds `automations`, `agents`, `skills` and `settings.yaml`."""
    settings: Mapping[str, object]
    skills: SkillIndex
    agents: Agents
    plugins: Path
    """The folder of Airflow's plugins, which holds the project's own operators."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the settings files."""
    whole: bool = True
    """False when a settings file is missing or cannot be read, so that `settings` lacks what it says."""
    published: bool = False
    """True of a folder that was valid when it was published."""

    @classmethod
    def of(cls, root: Path, *, published: bool = False, plugins: Path | None = None) -> SiteCatalog:
        """The catalog of a folder. In a published one, agents that today's rules refuse are still known.

        `plugins` is for a copy of the folder, which has no plugins beside it.
        """
        skills = skill_index(root / "skills")
        settings, problems, whole = _site_settings(root, published=published)
        agents = Agents(root / "agents", root, skills, settings=settings, published=published)
        return cls(
            root, settings, skills, agents, plugins or root.parent / "plugins", tuple(problems), whole, published
        )

    def refusal(self, operator: str) -> Obstacle | None:
        """Why the operator at an import path cannot be a step; None when nothing speaks against it."""
        if operator not in self._refusals:
            self._refusals[operator] = _refusal(operator, [self.plugins])
        return self._refusals[operator]

    def signature(self, operator: str) -> Signature | None:
        """The arguments of the operator at an import path; None where the files do not say.

        Always None in a published folder: it is read in every process that does a step, and Airflow checks the
        arguments there.
        """
        if self.published:
            return None
        if operator not in self._signatures:
            self._signatures[operator] = signature(operator, [self.plugins])
        return self._signatures[operator]

    def starts_runs(self, operator: str) -> bool:
        """True when the operator at an import path has Airflow start a run of a Dag."""
        return starts_runs(operator, [self.plugins])

    @cached_property
    def _refusals(self) -> dict[str, Obstacle | None]:
        return {}  # Many automations use the same few operators.

    @cached_property
    def _signatures(self) -> dict[str, Signature | None]:
        return {}


def _refusal(operator: str, folders: Sequence[Path]) -> Obstacle | None:
    if missing := obstacle(operator, folders):
        return Obstacle(f"cannot be imported: {missing.message}", missing.suggestion)
    return Obstacle(SKIPS, INSTEAD) if skips_others(operator, folders) else None


def shown(path: Path, root: Path) -> str:
    """How problems name a file: from the folder's own name on, or as it is when it lies elsewhere."""
    try:
        return str(Path(root.name) / path.relative_to(root))
    except ValueError:
        return str(path)


def settings_files() -> list[str]:
    """The names of the settings files in use here, the stronger one last."""
    environment = os.environ.get(ENVIRONMENT, "")
    return ["settings.yaml", f"settings.{environment}.yaml"] if environment else ["settings.yaml"]


def _site_settings(root: Path, *, published: bool) -> tuple[dict[str, object], list[Problem], bool]:
    """The settings, what is wrong with them, and whether every file of theirs could be read."""
    settings: dict[str, object] = {}
    problems: list[Problem] = []
    whole = True
    for name in settings_files():
        path = root / name
        if not path.is_file():
            if name != "settings.yaml":
                message = f"the environment variable {ENVIRONMENT} asks for this file, and it does not exist"
                problems.append(Problem(shown(path, root), 1, 1, message))
                whole = False
            continue
        try:
            own, wrong = _settings_file(path, root, published=published)
        except LanguageError as error:
            problems.extend(error.problems)
            whole = False
        else:
            settings = merged(settings, own)
            problems.extend(wrong)
    return settings, problems, whole


def _settings_file(path: Path, root: Path, *, published: bool) -> tuple[dict[str, object], list[Problem]]:
    """The settings in a file, and what is wrong with them. Raises LanguageError when they are no mapping."""
    source = read_source(path, name=shown(path, root), published=published)
    if not isinstance(source.data, dict):
        raise LanguageError([source.problem("settings are a mapping (lines of `name: value`)")])
    wrong = [
        source.problem(f"`{name}` is not a name: lower-case letters, digits and `_`", (name,), key=True)
        for name in source.data
        if not _NAME.fullmatch(name)
    ]
    refused = [
        *computed_settings(source, source.data),
        *variables_in_settings(source, source.data),
        *file_settings(source, source.data),
        *command_settings(source, source.data),
    ]
    return source.data, [*wrong, *refused, *check_secrets(source)]


def computed_settings(document: Located, settings: Mapping[str, object], path: SourcePath = ()) -> list[Problem]:
    """One problem for each setting that holds an expression: settings are plain values."""
    return [
        document.problem("a setting is a plain value; no expression can stand here", (*path, *place))
        for place, _ in texts(settings)
    ]


def variables_in_settings(document: Located, value: object, path: SourcePath = ()) -> Iterator[Problem]:
    """One problem for each setting that was meant to be read from the environment."""
    if isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from variables_in_settings(document, inner, (*path, key))
    elif isinstance(value, str) and (found := _VARIABLE.search(value)):
        message = f"`{found[1]}` is text: nothing is read from the environment"
        yield document.problem(message, path, suggestion=_WRITE_VALUE)


def command_settings(document: Located, settings: Mapping[str, object], path: SourcePath = ()) -> list[Problem]:
    """What is wrong with the setting that says where and how programs of agents work."""
    return [document.problem(message, (*path, *place)) for place, message in wrong_commands(settings)]


def file_settings(document: Located, settings: Mapping[str, object], path: SourcePath = ()) -> list[Problem]:
    """What is wrong with the settings that say which files may be read."""
    return [
        document.problem(message, (*path, name), suggestion=remedy)
        for name, message, remedy in wrong_settings(settings)
    ]
