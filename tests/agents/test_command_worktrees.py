"""Programs that work in a git worktree: what they change is a branch, and nothing of the worktree stays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygit2
import pytest

from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.errors import PermanentError, TransientError
from muster.isolation.workspaces import FOLDER, left_over
from support.agent_services import Services
from support.programs import program

Call = Callable[..., AgentCall]


@pytest.fixture
def repository(tmp_path: Path) -> pygit2.Repository:
    """A repository with one commit."""
    folder = tmp_path / "repository"
    known = pygit2.init_repository(str(folder), initial_head="main")
    (folder / "page.txt").write_text("one\n")
    known.index.add("page.txt")
    known.index.write()
    who = pygit2.Signature("somebody", "somebody@example.com")
    known.create_commit("HEAD", who, who, "Begin", known.index.write_tree(), [])
    return known


def left(known: pygit2.Repository) -> tuple[list[str], list[str]]:
    """The branches of programs, and the worktrees."""
    return [name for name in known.branches.local if name != "main"], known.list_worktrees()


def worktree(source: str, known: pygit2.Repository, **more: Any) -> Any:
    return program(source, isolation="worktree", repository=known.workdir.rstrip("/"), **more)


async def test_what_it_changes_is_committed_to_a_branch_of_its_own(
    services: Services, call: Call, repository: pygit2.Repository
) -> None:
    agent = worktree(
        """
        before = open("page.txt").read()
        open("page.txt", "a").write("two\\n")
        os.mkdir("more"); open("more/new.txt", "w").write("new\\n")
        say(type="result", output={"before": before})
        """,
        repository,
    )
    result = await run_agent(call(agent=agent), services)
    assert isinstance(result.output, dict)
    git = result.output["git"]
    assert (result.output["before"], git["changed"]) == ("one\n", ["more/new.txt", "page.txt"])
    assert left(repository) == ([git["branch"]], [])
    tip = repository.branches.local[git["branch"]].peel(pygit2.Commit)
    assert str(tip.id) == git["commit"]
    assert [str(parent.id) for parent in tip.parents] == [git["base"]] == [str(repository.head.target)]
    assert tip.tree["more/new.txt"].peel(pygit2.Blob).data == b"new\n"
    assert not list((services.folder / FOLDER).glob("*"))


async def test_several_work_side_by_side_in_one_repository(
    services: Services, call: Call, repository: pygit2.Repository
) -> None:
    agent = worktree("""open(request["data"]["name"], "w").close(); say(type="result", output={})""", repository)
    works = [
        run_agent(call(agent=agent, step="same", key=f"same[{n}]", index=n, data={"name": f"file{n}"}), services)
        for n in range(4)
    ]
    outputs: list[Any] = [each.output for each in await asyncio.gather(*works)]
    assert [each["git"]["changed"] for each in outputs] == [[f"file{n}"] for n in range(4)]
    assert len(left(repository)[0]) == 4
    assert left(repository)[1] == []


@pytest.mark.parametrize("source", ["say(type='result', output={})", "open('new', 'w'); sys.exit(1)"])
async def test_nothing_stays_where_nothing_came_of_it(
    source: str, services: Services, call: Call, repository: pygit2.Repository
) -> None:
    try:
        result: Any = await run_agent(call(agent=worktree(source, repository)), services)
        assert result.output["git"]["branch"] is None
    except TransientError:
        pass
    assert left(repository) == ([], [])


async def test_git_works_there_and_changes_nothing_of_the_repository_itself(
    services: Services, call: Call, repository: pygit2.Repository
) -> None:
    source = """
        import subprocess
        open("page.txt", "a").write("two\\n")
        told = subprocess.run(["git", "diff", "--stat"], capture_output=True, text=True)
        try: open(os.path.join(%r, "hooks", "post-commit"), "w"); wrote = True
        except OSError: wrote = False
        say(type="result", output={"told": told.stdout + told.stderr, "wrote": wrote})
    """
    result: Any = await run_agent(call(agent=worktree(source % repository.path, repository)), services)
    assert "page.txt | 1 +" in result.output["told"]
    assert result.output["wrote"] is False


async def test_a_worktree_that_leads_elsewhere_is_committed_to_its_own_repository(
    services: Services, call: Call, repository: pygit2.Repository, tmp_path: Path
) -> None:
    other = pygit2.init_repository(str(tmp_path / "other"))
    source = f"""
        open(".git", "w").write("gitdir: {other.path}")
        open("page.txt", "a").write("two\\n")
        say(type="result", output={{}})
    """
    result: Any = await run_agent(call(agent=worktree(source, repository)), services)
    assert result.output["git"]["changed"] == ["page.txt"]
    assert list(other.branches.local) == []


async def test_what_cannot_be_checked_out_is_said(
    services: Services, call: Call, repository: pygit2.Repository, tmp_path: Path
) -> None:
    agent = worktree("say(type='result', output={})", repository, ref="nowhere")
    with pytest.raises(PermanentError, match="has no branch, tag or commit `nowhere`"):
        await run_agent(call(agent=agent), services)
    (tmp_path / "empty").mkdir()
    agent = program("say(type='result', output={})", isolation="worktree", repository=str(tmp_path / "empty"))
    with pytest.raises(PermanentError, match=r"No worktree of .*empty can be made"):
        await run_agent(call(agent=agent), services)
    assert left(repository) == ([], [])
    assert not list((services.folder / FOLDER).glob("*"))


async def test_a_worktree_whose_maker_was_killed_is_removed_with_its_branch(
    services: Services, repository: pygit2.Repository, tmp_path: Path
) -> None:
    script = (
        "import os, sys; from pathlib import Path; from muster.isolation import workspaces, worktrees\n"
        "made = workspaces.make(Path(sys.argv[1]), run='demo/1', step='code', index=None, key='code',"
        " repository=sys.argv[2])\n"
        "worktrees.add(sys.argv[2], 'HEAD', made.work, made.plain_name); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(services.folder), repository.workdir], check=False)
    assert [len(each) for each in left(repository)] == [1, 1]
    [orphan] = left_over(services.folder / FOLDER)
    assert (orphan.run, orphan.step, orphan.kept) == ("demo/1", "code", False)
    orphan.clear()
    assert left(repository) == ([], [])
    assert not list((services.folder / FOLDER).glob("*"))
