"""Agents that are programs are checked where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.language import load_folder

HEAD = "department: works\nagents:\n  - id: worker\n    role: Works.\n"
WRONG = {
    "a line for a shell": (
        "    command: { program: [git status] }\n",
        "include/agents/works.yaml:5:25: the program has a space in its name",
        "Write `program: [git, status]`: no shell reads it.",
    ),
    "a text": ("    command: { program: git status }\n", "include/agents/works.yaml:5:25:", "list"),
    "a file that is not there": (
        "    command: { program: [python3, ./commands/work.py] }\n",
        "include/agents/works.yaml:5:35: there is no file `commands/work.py` in `include`",
        "What begins with `./commands/` is a file of the site.",
    ),
    "out of the site": (
        "    command: { program: [python3, ./../other.py] }\n",
        "include/agents/works.yaml:5:35: a file of the site has no `..`",
        "",
    ),
    "elsewhere in the site": (
        "    command: { program: [python3, ./agents/works.yaml] }\n",
        "include/agents/works.yaml:5:35: what begins with `./` is a file of the site in `commands`",
        "Write `./commands/<file>`.",
    ),
    "nothing to execute it": (
        "    command: { program: [./commands/there.py] }\n",
        "include/agents/works.yaml:5:26: a file of the site needs what executes it",
        "Write `[python3, ./commands/there.py]`.",
    ),
    "tools": (
        "    tools: [finance.read_invoice]\n    command: { program: [work] }\n",
        "include/agents/works.yaml:5:5: an agent with a `command` asks no model, so it has no `tools`",
        "",
    ),
    "no repository": (
        "    command: { program: [work], isolation: worktree }\n",
        "include/agents/works.yaml:5:44: a worktree is of a repository, and none is named",
        "Write `repository`",
    ),
    "a repository too many": (
        "    command: { program: [work], repository: /srv/shop }\n",
        "include/agents/works.yaml:5:45: only a worktree has a repository",
        "Write `isolation: worktree`",
    ),
    "no image": (
        "    command: { program: [work], isolation: docker }\n",
        "include/agents/works.yaml:5:44: a container needs an image",
        "Write `image`.",
    ),
    "the key to everything": (
        "    command: { program: [work], inherits: [AIRFLOW__CORE__FERNET_KEY] }\n",
        "include/agents/works.yaml:5:44: `AIRFLOW__CORE__FERNET_KEY` is Muster's or Airflow's own",
        "",
    ),
    "no limit": (
        "    command: { program: [work], limits: { memory_mb: 0 } }\n",
        "include/agents/works.yaml:5:54:",
        "16",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_program_is_said_where_it_is_written(wrong: str, tmp_path: Path) -> None:
    source, where, advice = WRONG[wrong]
    agents = tmp_path / "include" / "agents"
    agents.mkdir(parents=True)
    (tmp_path / "include" / "automations").mkdir()
    (tmp_path / "include" / "commands").mkdir()
    (tmp_path / "include" / "commands" / "there.py").touch()
    (agents / "works.yaml").write_text(HEAD + source)
    problems = [str(problem) for problem in load_folder(tmp_path / "include").problems]
    assert len(problems) == 1, problems
    assert problems[0].startswith(where), problems[0]
    assert advice in problems[0]


def test_settings_about_programs_are_checked(tmp_path: Path) -> None:
    (tmp_path / "include" / "automations").mkdir(parents=True)
    (tmp_path / "include" / "settings.yaml").write_text("commands:\n  keep: sometimes\n  limits: { seconds: 0 }\n")
    problems = [str(problem) for problem in load_folder(tmp_path / "include").problems]
    assert [problem.split(": ")[0] for problem in problems] == [
        "include/settings.yaml:2:9",
        "include/settings.yaml:3:22",
    ]
