"""The file of agents that the other examples use: models, and programs."""

from __future__ import annotations

AGENTS = """department: office
tiers: [fast_model, careful_model]
agents:
  - id: clerk
    role: You sort the letters of a small company.
    skills: [sorting, letters]
    tools: [office.read_letter]
    instructions: |
      Name the department a letter is for, and say why in one sentence.
    limits: { requests: 4, tool_calls: 8, tokens: 20000, usd: 0.05 }
    offline: office.guess_department

  - id: secretary
    title: The secretary
    department: office
    role: You sum up letters.
    skills: [summaries]
    tiers: [careful_model]
    returns: { type: object, properties: { summary: { type: string }, amount: { type: number } } }
    temperature: 0.2
    retries: 1
    offline: office.sum_up

  - id: counter
    role: You count words.
    skills: [counting]
    command:
      program: [count-words, --language, en]
      network: none
      reads: [/srv/dictionaries]
      env: { LANGUAGE: en }
      limits: { seconds: 60, cpu_seconds: 20, memory_mb: 256, processes: 8, disk_mb: 50, files: 100, output_kb: 64 }
    offline: office.sum_up

  - id: mender
    role: You mend the web pages.
    skills: [mending]
    command:
      program: [mend, --quietly]
      isolation: worktree
      repository: /srv/repositories/pages
      ref: main
      network: any
      inherits: [MENDING_SERVICE]
      keep: on_failure
    offline: office.sum_up

  - id: surveyor
    role: You look letters through.
    skills: [surveys]
    command: { program: [survey], isolation: docker, image: "surveys:3" }
    offline: office.sum_up
"""
"""`agents/office.yaml`"""
