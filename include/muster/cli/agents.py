"""`muster agents`: who can do what."""

from __future__ import annotations

from rich.markup import escape

from muster.cli.output import Exit, console, emit, open_table
from muster.local.project import find_project


def list_agents(*, as_json: bool) -> None:
    """List the agents of the project; exit code 1 when an agent file has problems."""
    import typer

    from muster.language.site_catalog import SiteCatalog

    agents = SiteCatalog.of(find_project().include).agents
    if as_json:
        emit({"agents": list(agents.by_id.values()), "problems": agents.problems})
    else:
        out = console()
        table = open_table("agent", "department", "can", "models", "tools", "without a model")
        for agent in agents.by_id.values():
            table.add_row(
                agent.id,
                agent.department or "",
                ", ".join(agent.skills),
                "a program" if agent.command is not None else ", ".join(agent.tiers),
                ", ".join(agent.tools),
                agent.offline or ("" if agent.command is not None else "[dim]fails[/]"),
            )
        if table.row_count:
            out.print(table)
        else:
            out.print("There are no agents yet: they live in include/agents/<department>.yaml.")
        for problem in agents.problems:
            out.print(f"\n[red]{escape(str(problem))}[/]")
    if agents.problems:
        raise typer.Exit(Exit.FAILED)
