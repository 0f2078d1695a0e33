"""Judges the life of a run from outside: by the calls of its skills, what each was given, and the orders of people.

It knows what an order has done again from the documents (docs/guarantees.md, decision 28) and nothing of the log:

- what was owed and not called since has no outcome; what a step is made from has one before it goes ahead;
- nothing is called that has an outcome and that nobody ordered again;
- what is called is given what the steps before it gave last;
- a run that has succeeded has nothing that is due and has no outcome, or a failed one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.life_shapes import NAMES, Form, Stage, wanted

Place = tuple[str, int | None]
"""A step, and the position of an item; None for a step outside a fan-out."""


@dataclass
class Call:
    """The last call there was for a place."""

    number: int
    how: str
    """`ok`, `aside`, `broken`, `rejected`."""
    of: list[Any]
    gave: Any


@dataclass
class Judge:
    """What stands of a run, and what is wrong with how it came to that."""

    form: Form
    calls: dict[Place, Call] = field(default_factory=dict)
    owed: dict[Place, int] = field(default_factory=dict)
    """The number of the last call there was when a place was ordered again: earlier ones count no more."""
    stands: dict[Place, str] = field(default_factory=dict)
    """The name that was done last, and was not undone, where it is to be undone one day or never can be."""
    number: int = 0
    wrong: list[str] = field(default_factory=list)

    # What people order.

    def restarted(self, steps: Collection[str]) -> None:
        """Everything of these steps is to be done again."""
        for place in list(self.calls):
            if place[0] in steps:
                self.owed[place] = self.number

    def redriven(self, work_items: Mapping[str, Collection[int | None]]) -> None:
        """These are to be done again, and all that comes after them; of lists aligned with theirs the same items."""
        for stage in self.form.stages:
            causes = [name for name in (stage.id, *self.before(stage)) if name in work_items]
            if not causes:
                continue
            again = {index for name in causes for index in work_items[name]}
            if stage.family is None or None in again or any(self.stage(it).family != stage.family for it in causes):
                self.restarted([stage.id])
            else:
                self.owed |= {(stage.id, index): self.number for index in again}

    def cleared(self, step: str, indices: Collection[int] | None) -> None:
        """A person cleared a step, or these items of it, and all tasks after it."""
        self.restarted([*self.after(step), *([step] if indices is None else [])])
        self.owed |= {(step, index): self.number for index in indices or ()}

    # What happens.

    def hears(self, call: Mapping[str, Any]) -> None:
        """One call of a skill, or an answer."""
        self.number = call["number"]
        if call["step"] == "undo":
            place = call["undone"], call["index"]
            self.stands.pop(place, None)
            self.owed[place] = self.number
            return
        stage, index = self.stage(call["step"]), call["index"]
        place = stage.id, index
        for reason in self._faults(stage, index, call["of"]):
            self.wrong.append(f"{stage.id}[{index}] {call['how']} of {call['of']}: {reason}")
        if stage.final and self.form.ends and call["how"] == "ok":
            self.stands[place] = self._name(call["of"])
        self.calls[place] = Call(self.number, call["how"], call["of"], call["gave"])
        for later in self.form.stages if index is not None else ():
            if later.family == stage.family and later.id in self.after(stage.id):
                self.owed[later.id, index] = self.number

    def is_lost(self, place: Place) -> None:
        """The process of a call died before its outcome was written: nobody knows of it."""
        self.owed[place] = self.number

    def _faults(self, stage: Stage, index: int | None, of: list[Any]) -> Iterator[str]:
        if self.has_outcome((stage.id, index)):
            yield "it has an outcome, and nobody had it done again"
        if index is not None and index >= len(self._list(stage)):
            yield f"there are {len(self._list(stage))} items now"
            return
        for before in self._direct(stage):
            aligned = index is not None and before.family == stage.family
            for place in [(before.id, index)] if aligned else self._places(before):
                if self.is_due(place) and not self.has_outcome(place):
                    yield f"{place} before it has no outcome"
                elif before.family is None and not self.is_through(place):
                    yield f"{place} before it has not come through"
        if (made_of := self._made_of(stage, index)) != of:
            yield f"it is to be made of {made_of}"
        elif not self.is_due((stage.id, index)):
            yield "it is not due"
        name = self.stands.get((stage.id, index))
        if name is not None and name != self._name(of):
            yield f"{name} stands at its position"

    def ends(self, status: str, reason: str | None) -> None:
        """An execution has ended."""
        if status == "succeeded":
            self.wrong += [f"succeeded, and {why}" for why in self._missing()]
        elif not reason:
            self.wrong.append(f"{status}, and nothing says why")
        if status == "compensated" and self.stands:
            self.wrong.append(f"compensated, and {self.stands} stands")

    def _missing(self) -> Iterator[str]:
        for stage in self.form.stages:
            for place in self._places(stage):
                if not self.is_due(place):
                    continue
                if not self.has_outcome(place):
                    yield f"{place} was not done"
                elif self.calls[place].how == "broken":
                    yield f"{place} failed"
                elif stage.over is not None and not self._is_fresh(stage, place):
                    yield f"{place} was made of {self.calls[place].of}, not of {self._made_of(stage, place[1])}"

    def _is_fresh(self, stage: Stage, place: Place) -> bool:
        """True when what it was made from at its own position is what there is now.

        What it was made from as a whole may be newer: a redrive leaves the other items as they are.
        """
        now = self._made_of(stage, place[1])
        aligned = [True, *(self.stage(name).family == stage.family for name in stage.given)]
        return all(one == other for one, other, own in zip(self.calls[place].of, now, aligned, strict=True) if own)

    # What there is.

    def has_outcome(self, place: Place) -> bool:
        """True when it was called since it was ordered last."""
        return place in self.calls and self.calls[place].number > self.owed.get(place, 0)

    def is_through(self, place: Place) -> bool:
        """True when it was done, and counts."""
        return self.has_outcome(place) and self.calls[place].how == "ok"

    def is_due(self, place: Place) -> bool:
        """True when there is work for it now."""
        stage, index = self._at(place)
        if index is None:
            asked = [each for each in self.form.stages if each.asked and each.id in self.before(stage)]
            nobody = [each for each in asked if not any(map(self.is_through, self._places(each)))]
            return not any(self._places(each) for each in nobody)
        if index >= len(self._list(stage)) or self._list(stage)[index] is None:
            return False
        asked = [
            (each.id, index if each.over else None)
            for each in self.form.stages
            if each.asked and each.id in self.before(stage)
        ]
        if not all(self.is_through(question) or not self.is_due(question) for question in asked):
            return False
        return not (stage.final and self.form.when) or wanted(index, len(self.value("list") or ()))

    def value(self, step: str) -> Any:
        """What a step gives to those after it."""
        if step == "inputs":
            return list(NAMES)
        stage = self.stage(step)
        if stage.family is None:
            return self.calls[step, None].gave if self.is_through((step, None)) else None
        return [
            self.calls[place].gave if self.is_due(place) and self.is_through(place) else None
            for place in self._places(stage)
        ]

    def _made_of(self, stage: Stage, index: int | None) -> list[Any]:
        """What it is given, or asks about."""
        item = [] if index is None else [self._list(stage)[index]]
        if stage.asked:
            return item
        found = []
        for name in stage.given:
            aligned = index is not None and self.stage(name).family == stage.family
            value = self.value(name)
            found.append(value[index] if aligned else value)
        return item + found

    def _list(self, stage: Stage) -> list[Any]:
        return self.value(stage.over or "inputs") or []

    def _places(self, stage: Stage) -> list[Place]:
        return [(stage.id, index) for index in range(len(self._list(stage)))] if stage.over else [(stage.id, None)]

    def _at(self, place: Place) -> tuple[Stage, int | None]:
        return self.stage(place[0]), place[1]

    @staticmethod
    def _name(of: list[Any]) -> str:
        return str(of[0]).split(".")[0]

    def stage(self, id: str) -> Stage:
        """The step of that name."""
        return next(stage for stage in self.form.stages if stage.id == id)

    def _direct(self, stage: Stage) -> list[Stage]:
        return [self.stage(name) for name in stage.after]

    def before(self, stage: Stage) -> set[str]:
        """Every step before it."""
        return {name for each in self._direct(stage) for name in (each.id, *self.before(each))}

    def after(self, step: str) -> list[str]:
        """Every step after it, in order."""
        return [stage.id for stage in self.form.stages if step in self.before(stage)]
