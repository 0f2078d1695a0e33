"""The examples of `docs/language.md`: files of one small site, each valid."""

from __future__ import annotations

from muster.language.kinds import KINDS as _KINDS
from muster.language.shares import EXAMPLE

SKILLS = '''from decimal import Decimal

from pydantic import BaseModel

from muster.errors import SetAside
from muster.skills import SkillContext, skill


class Letter(BaseModel):
    uri: str
    amount: Decimal
    sender: str


@skill("office.read_letter")
def read_letter(uri: str) -> Letter:
    """Reads a letter."""
    return Letter(uri=uri, amount=Decimal(uri.count("1") * 1000), sender="post@example.com")


@skill("office.check_letter")
def check_letter(letter: Letter) -> Letter:
    """Sets a letter aside that names no amount."""
    if not letter.amount:
        raise SetAside("The letter names no amount.")
    return letter


@skill("office.file_letter", lane="async", timeout=30)
async def file_letter(letter: Letter, folder: str = "inbox") -> str:
    """Files a letter in a folder."""
    return f"{folder}/{letter.uri}"


@skill("office.unfile_letter")
def unfile_letter(letter: Letter, context: SkillContext) -> None:
    """Takes a letter out of its folder, if the work that `context.undoes` names ever put it there."""


@skill("office.clear_place")
def clear_place(place: str | None) -> None:
    """Clears the place where a letter was filed; without a place there is nothing to do."""


@skill("office.guess_department")
def guess_department(letter: Letter, amount: float = 0) -> str:
    """Guesses which department a letter is for."""
    return "purchasing" if letter.amount or amount else "front desk"


@skill("office.sum_up")
def sum_up(letter: Letter) -> dict[str, str | float]:
    """Sums a letter up."""
    return {"summary": f"A letter from {letter.sender}.", "amount": float(letter.amount)}


@skill("office.lost_letters")
def lost_letters(folder: str) -> list[str]:
    """Looks for letters that are in no folder: those it gives back are what is wrong."""
    return []
'''
"""`skills/office.py`"""

SETTINGS = """office_channel: "#office"
inbox: /srv/letters
limit: 5000
"""
"""`settings.yaml`"""

DEFAULTS = """category: office
department: office
owner: front-desk
triggers: []
deadlines:
  - within: 1d
    notify: [{ slack: "#office" }]
incidents: [{ slack: "#office", text: "A run is stuck." }]
budget: { retries: 100 }
defaults:
  retry: { times: 2, delay: 5s }
  timeout: 5m
settings: { folder: letters }
"""
"""`automations/office/_defaults.yaml`"""

FIRST = """automation: sort_letters
title: Sort letters
description: Reads what is in the inbox, has each letter sorted, asks about large amounts, and reports.

triggers:
  - schedule: "0 7 * * 1-5"
    timezone: Europe/Berlin
  - files: { path: "{{ settings.inbox }}", match: ["*.txt", "*.pdf"] }

inputs:
  letters: { type: array, items: { type: string, format: uri }, default: [] }

deadlines:
  - within: 30m
    notify: [{ slack: "{{ settings.office_channel }}" }]
budget: { usd: 0.50 }

steps:
  - id: read
    each: "{{ inputs.letters }}"
    skill: office.read_letter
    with: { uri: "{{ item }}" }

  - id: sort
    each: "{{ steps.read }}"
    agent: clerk
    ask: Which department is this letter for?
    with: { letter: "{{ item }}" }

  - id: approve
    each: "{{ steps.read }}"
    when: "{{ item.amount > settings.limit }}"
    human:
      ask: "Accept the letter of {{ item.sender }} over {{ item.amount | money('EUR') }}?"
      assignees: [office-lead]
      within: 24h
      otherwise: reject

  - id: tell
    notify:
      - { slack: "{{ settings.office_channel }}", text: "{{ steps.sort | present | length }} letters sorted" }
"""
"""An automation with a little of everything."""

KINDS = {name: kind.example for name, kind in _KINDS.items()}
"""One automation for each kind of step."""

BASE = """steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }
    timeout: 1m

  - id: tell
    notify: [{ slack: "#office", text: "Read {{ inputs.uri }}" }]

inputs:
  uri: { type: string }
"""
"""`automations/office/_letter.yaml`: a base that others extend."""

EXTENDING = """automation: read_and_file
extends: _letter.yaml
settings: { folder: contracts }
steps:
  - id: read
    timeout: 5m

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}", folder: "{{ settings.folder }}" }
"""
"""An automation that extends `_letter.yaml`: another limit for `read`, and a step behind it."""

AUTOMATION = """automation: file_the_post
title: File the post
category: office
department: office
owner: front-desk
description: Files what arrived, every working day and as it comes.

triggers:
  - schedule: "0 7 * * 1-5"
    timezone: Europe/Berlin
  - files: { path: "{{ settings.inbox }}", match: ["*.txt"], input: letters, every: 1m }

inputs:
  letters: { type: array, items: { type: string }, default: [] }

deadlines:
  - within: 2h
    notify: [{ email: office-lead@example.com, subject: Late, text: The post is not filed yet. }]
incidents:
  - slack: "#office"
    text: A run could not be undone.
checks:
  - name: nothing_stuck
    sql: SELECT id FROM runs WHERE status = 'stuck'
  - name: no_letter_lost
    schedule: "@daily"
    skill: office.lost_letters
    with: { folder: "{{ settings.folder }}" }
budget: { usd: 1.00, retries: 50 }
defaults:
  retry: { times: 2 }
  timeout: 5m
  priority: 5
  pool: default_pool
settings: { folder: post }

steps:
  - id: read
    each: "{{ inputs.letters }}"
    skill: office.read_letter
    with: { uri: "{{ item }}" }
"""
"""Every key of an automation but `extends` and `personal`."""

PERSONAL = """automation: answer_customer
inputs:
  customer: { type: string }
  letter: { type: string }
personal:
  subject: "{{ inputs.customer }}"
  impersonal: [read]
  fields: [inputs.letter, steps.read.output.sender]
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.letter }}" }
"""
"""A run that is about somebody."""

STEPS = """automation: pay_letters
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: read
    title: Read the letters
    each: "{{ inputs.letters }}"
    pack: 20
    skill: office.read_letter
    with: { uri: "{{ item }}" }
    retry:
      times: 3
      delay: 10s
      backoff: 3
      max_delay: 5m
      on:
        rate_limit: { times: 10, delay: 1m, backoff: 1, max_delay: 30m }
        auth: { times: 1 }
    timeout: 2m
    fallback: { agent: clerk, ask: "Read {{ item }}.", with: { uri: "{{ item }}" } }

  - id: approve
    human: { ask: "File {{ steps.read | present | length }} letters?", assignees: [office-lead] }

  - id: file
    after: approve
    when: "{{ item.amount < settings.limit }}"
    each: "{{ steps.read }}"
    skill: office.file_letter
    with: { letter: "{{ item }}" }
    lock: ["letter:{{ item.uri }}"]
    lane: worker
    priority: 10
    pool: default_pool
    compensate:
      skill: office.unfile_letter
      with: { letter: "{{ item }}" }
      retry: { times: 3 }
      timeout: 1m
    fallback: { skill: office.file_letter, with: { letter: "{{ item }}", folder: later } }

  - id: announce
    irreversible: true
    notify: [{ slack: "#office", text: "Filed." }]
"""
"""Every key that steps have in common."""

COMPENSATING = """automation: file_and_sum_up
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}", folder: sorted }
    compensate:
      skill: office.clear_place
      with: { place: "{{ output }}" }
      retry: { times: 10, delay: 1m }
      timeout: 2m

  - id: sum_up
    skill: office.sum_up
    with: { letter: "{{ steps.read }}" }
"""
"""A step that is undone, with what it gave back, when the next one fails."""

REJECTED = """automation: answer_letter
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: approve
    human: { ask: "Answer {{ steps.read.sender }}?", assignees: [office-lead] }

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}" }

  - id: archive
    skill: office.file_letter
    with: { letter: "{{ steps.read }}", folder: archive }

  - id: refuse
    after: approve
    when: "{{ not steps.approve.approved }}"
    notify: [{ slack: "#office", text: "Rejected: {{ steps.approve.note | default('no reason', true) }}" }]
"""
"""What a rejection skips, and a step that decides about it itself."""

SET_ASIDE = """automation: check_letters
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: read
    each: "{{ inputs.letters }}"
    skill: office.read_letter
    with: { uri: "{{ item }}" }

  - id: check
    each: "{{ steps.read }}"
    skill: office.check_letter
    with: { letter: "{{ item }}" }

  - id: file
    each: "{{ steps.check }}"
    when: "{{ item.amount < settings.limit }}"
    skill: office.file_letter
    with: { letter: "{{ item }}" }

  - id: tell
    notify: [{ slack: "#office", text: "{{ steps.file | present | length }} of {{ inputs.letters | length }} filed" }]
"""
"""Items that are set aside and items that are skipped."""

FAILING = """automation: file_until_one_fails
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: read
    each: "{{ inputs.letters }}"
    skill: office.read_letter
    with: { uri: "{{ item }}" }

  - id: file
    each: "{{ steps.read }}"
    failures: stop
    skill: office.file_letter
    with: { letter: "{{ item }}" }
    compensate: { skill: office.unfile_letter, with: { letter: "{{ item }}" } }
"""
"""Items that do not begin once another one has failed."""

MORE = (AUTOMATION, PERSONAL, EXAMPLE, STEPS, COMPENSATING, REJECTED, SET_ASIDE, FAILING)
"""The automations of the page beside the first, those of the kinds, and the one that extends another."""
