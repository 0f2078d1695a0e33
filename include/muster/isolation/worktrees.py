"""Git worktrees for programs, by libgit2: made from a repository, and what was changed in them kept as a branch.

The program may read the repository and not write to it, so it cannot leave anything there that others would run. What
it has changed in its files Muster commits, to a branch of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.errors import PermanentError

if TYPE_CHECKING:
    from pygit2 import Repository

BRANCHES = "muster/"
"""Prefix of the branches that hold what programs did."""
_BASE = "muster-base"
"""The file beside git's own that names the commit that a worktree began with."""


@dataclass(frozen=True)
class Worktree:
    """A worktree that a program works in."""

    repository: str
    name: str
    base: str
    """The commit that it began with."""

    @property
    def branch(self) -> str:
        """Its branch."""
        return f"{BRANCHES}{self.name}"

    def commit(self, agent: str, message: str) -> dict[str, object]:
        """Commit what was changed in it, and say what: `branch`, `commit`, `base`, `changed`; no branch if nothing was.

        Raises:
            PermanentError: it cannot be committed.
        """
        import pygit2

        with _errors(self.repository):
            # By what the repository knows of it, not by the worktree's own file, which the program may have written.
            tree = pygit2.Repository(str(_folder(pygit2.Repository(self.repository), self.name)))
            tree.index.add_all()
            tree.index.write()
            content, base = tree.index.write_tree(), tree[self.base].peel(pygit2.Commit)
            if content == base.tree.id:
                return {"branch": None, "commit": self.base, "base": self.base, "changed": []}
            who = pygit2.Signature(agent, f"{agent}@muster.invalid")
            made = tree.create_commit(f"refs/heads/{self.branch}", who, who, message, content, [base.id])
            changed = sorted(delta.new_file.path for delta in tree.diff(base, tree[made].peel(pygit2.Commit)).deltas)
            return {"branch": self.branch, "commit": str(made), "base": self.base, "changed": changed}


def add(repository: str, ref: str, folder: Path, name: str) -> Worktree:
    """A new worktree of a repository, in a folder that is empty.

    Raises:
        PermanentError: there is no such repository, nothing of that name in it, or no worktree can be made.
    """
    import pygit2

    with _errors(repository):
        known = pygit2.Repository(repository)
        try:
            base = known.revparse_single(ref).peel(pygit2.Commit)
        except (KeyError, ValueError) as error:
            raise PermanentError(f"The repository {repository} has no branch, tag or commit `{ref}`.") from error
        made = Worktree(repository, name, str(base.id))
        branch = known.branches.local.create(made.branch, base)
        folder.rmdir()
        known.add_worktree(name, str(folder), known.references[branch.name])
        (_folder(known, name) / _BASE).write_text(made.base, encoding="ascii")
        return made


def remove(repository: str, name: str) -> None:
    """Remove what a repository knows of a worktree whose folder is gone, and its branch if nothing was committed."""
    import pygit2

    with suppress(pygit2.GitError, KeyError, ValueError):
        known = pygit2.Repository(repository)
        branch, folder = known.branches.local.get(f"{BRANCHES}{name}"), _folder(known, name)
        base = (folder / _BASE).read_text(encoding="ascii") if (folder / _BASE).is_file() else None
        shutil.rmtree(folder, ignore_errors=True)
        if branch is not None and str(branch.target) == base:
            branch.delete()


def _folder(known: Repository, name: str) -> Path:
    """Where a repository keeps what it knows of a worktree."""
    return Path(known.path) / "worktrees" / name


@contextmanager
def _errors(repository: str) -> Iterator[None]:
    import pygit2

    try:
        yield
    except (pygit2.GitError, OSError) as error:
        raise PermanentError(
            f"No worktree of {repository} can be made or kept: {error}.",
            remedy="Name a git repository on this machine that Muster may write to.",
        ) from error
