"""The examples of `docs/language.md`: files of one small site, each valid."""

from __future__ import annotations

SKILLS = '''from decimal import Decimal
from typing import Any

from muster.skills import skill


@skill("office.read_letter")
def read_letter(uri: str) -> dict[str, Any]:
    """Reads a letter."""
    return {"uri": uri, "amount": Decimal(uri.count("1") * 1000), "sender": "post@example.com"}


@skill("office.file_letter", lane="async", timeout=30)
async def file_letter(letter: dict[str, Any], folder: str = "inbox") -> str:
    """Files a letter in a folder."""
    return f"{folder}/{letter['uri']}"
'''
"""`skills/office.py`"""

SETTINGS = """office_channel: "#office"
inbox: /srv/letters
limit: 5000
"""
"""`settings.yaml`"""

AGENTS = """department: office
tiers: [fast_model, careful_model]
agents:
  - id: clerk
    role: You sort the letters of a small company.
    skills: [sorting, summaries]
    tools: [office.read_letter]
    instructions: |
      Name the department a letter is for, and say why in one sentence.
    limits: { requests: 4, usd: 0.05 }
"""
"""`agents/office.yaml`"""

DEFAULTS = """category: office
department: office
owner: front-desk
defaults:
  retry: { times: 2, delay: 5s }
  timeout: 5m
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
    ask: "Which department is this letter for? {{ item }}"

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

KINDS: dict[str, str] = {
    "skill": """automation: file_letters
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: read
    each: "{{ inputs.letters }}"
    pack: 100
    skill: office.read_letter
    with: { uri: "{{ item }}" }
    retry: { times: 3, delay: 10s, backoff: 2 }
    timeout: 2m

  - id: file
    each: "{{ steps.read }}"
    skill: office.file_letter
    with: { letter: "{{ item }}", folder: "{{ 'large' if item.amount > settings.limit else 'small' }}" }
""",
    "agent": """automation: summarise_letter
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: summarise
    needs: { skills: [summaries], department: office }
    ask: Summarise the letter in one sentence, and name the amount.
    with: { letter: "{{ steps.read }}" }
    returns:
      type: object
      properties: { summary: { type: string }, amount: { type: number } }
      required: [summary, amount]
    fallback: { agent: clerk, ask: "Summarise {{ steps.read }} briefly." }
""",
    "human": """automation: ask_first
inputs:
  uri: { type: string }
  boss: { type: string, default: office-lead }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: approve
    human:
      ask: "Answer {{ steps.read.sender }}?"
      details: |
        | sender | amount |
        | --- | --- |
        | {{ steps.read.sender }} | {{ steps.read.amount | money }} |
      assignees: "{{ [inputs.boss] }}"
      within: 8h

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}" }
""",
    "notify": """automation: greet
steps:
  - id: greet
    notify:
      - { slack: "#office", text: "Good morning." }
      - { email: [front-desk@example.com], subject: Today, text: "Run {{ run.id }} has begun." }
""",
    "branch": """automation: two_ways
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: choose
    branch:
      - when: "{{ steps.read.amount > settings.limit }}"
        to: approve
      - to: file

  - id: approve
    human: { ask: "Accept {{ steps.read.amount }}?", assignees: [office-lead] }

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}" }

  - id: done
    after: [approve, file]
    notify: [{ slack: "#office", text: "Done with {{ inputs.uri }}" }]
""",
    "operator": """automation: nightly_copy
triggers:
  - schedule: "@daily"
steps:
  - id: copy
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: { bash_command: "echo copied {{ settings.inbox }}" }
    timeout: 10m
    pool: default_pool
""",
    "run": """automation: letters_of_the_day
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: file
    run: file_letters
    with: { letters: "{{ inputs.letters }}" }
    timeout: 2h

  - id: tell
    notify: [{ slack: "#office", text: "{{ steps.file.outputs.file | present | length }} letters filed" }]
""",
}
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
