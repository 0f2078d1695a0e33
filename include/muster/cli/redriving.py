"""`muster dead-letters redrive` and `discard`: a person decides about work that could not be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress

import typer

from muster.cli.carrying_out import carry_out
from muster.cli.connections import open_database, open_log
from muster.cli.output import Exit, console, emit, messages
from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.events.definitions import DefinitionStore
from muster.notifications.outbox import Outbox
from muster.operations.redoing import Plan, WorkItems, order, plan_discard, plan_redrive, standing
from muster.recovery.dead_letters import DeadLetter, DeadLetters, Filter
from muster.redaction import redact


def redrive(ids: Sequence[str], wanted: Filter, *, limit: int, dry_run: bool, user: str, as_json: bool) -> None:
    """Have dead letters done again, one run after the other; a refused one does not keep the others back."""
    with closing(open_database()) as database:
        chosen = _Chosen(_letters(database, ids, wanted, limit))
        log, definitions = open_log(database), DefinitionStore(database)
        for letter in chosen.whole_runs:
            chosen.refuse(letter, _without_a_step(letter))
        for letter in chosen.letters if not ids else ():
            # What failed in the child run is a dead letter of its own. Redriving this one too would start another
            # child, which would repeat what had come through in the first.
            if letter.error_class == "ChildFailed":
                chosen.refuse(letter, _of_a_run_below(letter))
        plans = chosen.each_run(lambda run, work_items: plan_redrive(log, definitions, run, work_items, by=user))
        tasks = carry_out(database, plans, user, dry_run=dry_run, refuse=chosen.refuse_run)

        def send_again(letter: DeadLetter) -> None:
            if letter.decision == "discarded":
                raise PermanentError(f"{letter.id} was discarded; nothing was changed.", remedy=_MEANS)
            if not dry_run and not Outbox(database).send_again(letter.number, f"Redriven by {user}."):
                raise PermanentError(
                    f"{letter.id} was sent or forgotten meanwhile; nothing was changed.", remedy=_SHOWN
                )

        chosen.each_notice(send_again)
    _tell(chosen, "Would redrive" if dry_run else "Redriven", tasks, as_json=as_json)


def discard(
    ids: Sequence[str], wanted: Filter, *, limit: int, reason: str, dry_run: bool, user: str, as_json: bool
) -> None:
    """Record that dead letters are not to be done any more, and why; a refused one does not keep the others back."""
    with closing(open_database()) as database:
        chosen = _Chosen(_letters(database, ids, wanted, limit))
        log = open_log(database)
        stands: dict[str, list[str]] = {}

        def plan(run: str, work_items: WorkItems) -> Plan:
            planned = plan_discard(log, run, work_items, by=user, reason=reason)
            # A run without its definition can be discarded all the same; it is then unknown what the run did before.
            with suppress(MusterError):
                stands[run] = standing(log, DefinitionStore(database), run, work_items)
            return planned

        plans = chosen.each_run(plan, whole_runs=True)
        for planned in plans if not dry_run else ():
            try:
                order(log, planned)
            except MusterError as error:
                chosen.refuse_run(planned.run, error)

        def keep(letter: DeadLetter) -> None:
            note = f"Discarded by {user}: {reason}"
            if letter.decision == "discarded" or (not dry_run and not Outbox(database).discard(letter.number, note)):
                raise PermanentError(f"{letter.id} was discarded or sent; nothing was changed.", remedy=_SHOWN)

        chosen.each_notice(keep)
    _tell(chosen, "Would discard" if dry_run else "Discarded", {}, as_json=as_json, stands=stands)


class _Chosen:
    """The dead letters that a person has chosen, and which of them were refused."""

    def __init__(self, letters: Sequence[DeadLetter]) -> None:
        self.letters = letters
        self.whole_runs = [letter for letter in letters if letter.kind == "run"]
        self.refused: dict[str, MusterError] = {}
        """Why, by the id of the dead letter."""

    def refuse(self, letter: DeadLetter, error: MusterError) -> None:
        """Leave a dead letter as it is, and go on. The only one chosen raises its error instead."""
        if len(self.letters) == 1:
            raise error
        self.refused[letter.id] = error

    def refuse_run(self, run: str, error: MusterError) -> None:
        """Leave all dead letters of a run as they are, and go on. If no others were chosen, this raises the error."""
        own = [letter for letter in self.letters if letter.run == run and letter.kind != "notice"]
        if len(own) == len(self.letters):
            raise error
        self.refused |= {letter.id: error for letter in own}

    def each_notice(self, do: Callable[[DeadLetter], None]) -> None:
        """Decide about the notices, one after the other."""
        for letter in self.letters:
            if letter.kind == "notice":
                try:
                    do(letter)
                except MusterError as error:
                    self.refuse(letter, error)

    def each_run(self, plan: Callable[[str, WorkItems], Plan], *, whole_runs: bool = False) -> list[Plan]:
        """A plan for each run that was not refused.

        Raises:
            TransientError: the database does not answer; nothing was written yet.
        """
        runs: dict[str, dict[str, list[int | None]]] = {}
        for letter in self.letters:
            if letter.run is not None and letter.step is not None and letter.id not in self.refused:
                runs.setdefault(letter.run, {}).setdefault(letter.step, []).append(letter.index)
        if whole_runs:
            runs |= {letter.run: {} for letter in self.whole_runs if letter.run is not None}
        plans: list[Plan] = []
        for run, work_items in runs.items():
            try:
                plans.append(plan(run, work_items))
            except TransientError:
                raise
            except MusterError as error:
                self.refuse_run(run, error)
        return plans


def _letters(database: Database, ids: Sequence[str], wanted: Filter, limit: int) -> list[DeadLetter]:
    """The dead letters that are named, else those that fit the filter and nobody has decided about."""
    letters = DeadLetters(database)
    if ids:
        return [letters.get(id) for id in dict.fromkeys(ids)]
    if wanted == Filter(set_aside=wanted.set_aside):
        raise PermanentError("Nothing was chosen.", remedy="Name dead letters, or give a filter such as --automation.")
    waiting = letters.waiting(wanted, limit=limit)
    if not waiting:
        raise PermanentError("No dead letter fits.", remedy="`muster dead-letters list` shows them.")
    return waiting


_MEANS = "Tell its people by other means; `muster outbox` shows it whole."
_SHOWN = "`muster outbox` shows what became of it."


def _of_a_run_below(letter: DeadLetter) -> PermanentError:
    return PermanentError(
        f"{letter.id} failed because the run that it has asked for did: {letter.cause}",
        remedy="Redrive what failed in that run. "
        f"`muster dead-letters redrive '{letter.id}'` asks for another run, which does all of it again.",
    )


def _without_a_step(letter: DeadLetter) -> PermanentError:
    return PermanentError(
        f"{letter.id} failed without a word of any step.", remedy=f"Use `muster restart {letter.id} --from STEP`."
    )


def _tell(
    chosen: _Chosen,
    verb: str,
    tasks: dict[str, list[object]],
    *,
    as_json: bool,
    stands: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Say what was done and what was refused; exit code 1 when anything was."""
    done = [letter for letter in chosen.letters if letter.id not in chosen.refused]
    runs = {letter.run for letter in done if letter.step is not None}
    standing = None if stands is None else {run: works for run, works in stands.items() if run in runs}
    if as_json:
        refused = {id: str(error) for id, error in chosen.refused.items()}
        said = {"letters": [letter.id for letter in done], "tasks": tasks, "done": not verb.startswith("Would")}
        emit(said | {"refused": refused} | ({} if standing is None else {"stands": standing}))
    for letter in done if not as_json else ():
        console().print(f"{verb} {letter.id}: {letter.cause or ''}", markup=False)
    for run, works in (standing or {}).items() if not as_json else ():
        if works:
            console().print(f"What {run} did for it before stands: {', '.join(works)}.", markup=False)
    if verb == "Redriven" and not as_json and any(letter.kind == "notice" for letter in done):
        console().print("The reconciler sends the notices, each under its own key, in ten minutes or a little later.")
    for id, error in chosen.refused.items():
        messages().print(redact(f"Refused {id}: {error}"), markup=False, style="red")
    if chosen.refused:
        raise typer.Exit(Exit.FAILED)
