"""An agent that is an outside program: what it is told, what it says, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from muster.agents.call import AgentCall
from muster.agents.errors import BadOutput, LimitReached
from muster.agents.runner import run_agent
from muster.errors import BudgetExceeded, ErrorClass, PermanentError, TransientError
from muster.failures import classify
from muster.isolation.machine import machine
from muster.isolation.workspaces import FOLDER
from muster.recovery.breakers import BreakerOpen
from support.agent_services import Services
from support.programs import ancestors, processes_with, program
from support.waiting import eventually

Call = Callable[..., AgentCall]


def left(services: Services) -> list[Path]:
    """The workspaces that are still there."""
    return sorted((services.folder / FOLDER).glob("*"))


async def recorded(services: Services) -> list[Any]:
    return [event async for event in services.log.aread("demo/1")]


async def test_it_is_told_what_to_do_and_what_it_gives_is_the_answer(services: Services, call: Call) -> None:
    agent = program("""
        say(type="progress", fraction=0.5, message="half way")
        say(type="log", level="info", message="I look at it")
        say(type="cost", usd="0.02", input_tokens=10, output_tokens=5)
        open("note.txt", "w").write("mine")
        del request["workspace"], request["seconds"]
        say(type="result", output={"request": request, "here": sorted(os.listdir("."))})
    """)
    result = await run_agent(call(agent=agent, ask="Count it.", data={"letter": "Dear all"}), services)
    assert result.output == {
        "request": {
            "protocol": 1,
            "agent": "worker",
            "run": "demo/1",
            "step": "code",
            "index": None,
            "key": "demo/1/code",
            "role": "Works.",
            "instructions": "",
            "ask": "Count it.",
            "data": {"letter": "Dear all"},
            "returns": None,
        },
        "here": ["note.txt"],
    }
    assert agent.command is not None
    assert result.produced_by == f"command:{Path(agent.command.program[0]).name}"
    assert (result.cost, result.input_tokens, result.output_tokens) == (Decimal("0.02"), 10, 5)
    assert not left(services)
    (event,) = await recorded(services)
    assert (event.type, event.key, event.data["tier"], event.data["cost"]) == (
        "model.called",
        "code/model/0",
        "command",
        "0.02",
    )


async def test_done_again_after_a_crash_it_is_not_run_a_second_time(
    services: Services, call: Call, tmp_path: Path
) -> None:
    agent = program("""say(type="result", output=time.time())""")
    first = await run_agent(call(agent=agent), services)
    again = Services(services.models, services.log, services.database, services.site, services.folder)
    assert await run_agent(call(agent=agent), again) == first
    other = await run_agent(call(agent=agent, key="code/1"), services)
    assert other.output != first.output


async def test_what_it_gives_must_be_what_the_step_returns(services: Services, call: Call) -> None:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    good = program("""say(type="result", output={"amount": 2, "asked": "amount" in str(request["returns"])})""")
    result = await run_agent(call(agent=good, returns=schema), services)
    assert result.output == {"amount": 2, "asked": True}
    bad = program("""say(type="result", output={"amount": "much"})""")
    with pytest.raises(BadOutput, match=r"does not fit.*amount"):
        await run_agent(call(agent=bad, returns=schema, key="code/2"), services)


ODD = {
    "nothing": ("pass", BadOutput, "ended without a `result` or an `error`"),
    "garbage": ("print('Traceback: oh no')", BadOutput, "is no JSON object with a `type`: 'Traceback: oh no'"),
    "bytes": ("sys.stdout.buffer.write(bytes(range(128, 256)))", BadOutput, "is no JSON object"),
    "half": ("""sys.stdout.write('{"type": "result", "output": {"a"')""", BadOutput, "is no JSON object"),
    "a list": ("print('[1]')", BadOutput, "is no JSON object"),
    "not a number": ("""print('{"type": "result", "output": NaN}')""", BadOutput, "is no JSON object"),
    "deep": ("print('[' * 100000)", BadOutput, "is no JSON object"),
    "an unknown type": ("say(type='tool')", BadOutput, "unknown type `tool`"),
    "no output": ("say(type='result')", BadOutput, "is a `result` without `output`"),
    "money back": ("say(type='cost', usd=-1)", BadOutput, "no usable `usd`"),
    "half a token": ("say(type='cost', usd=1, input_tokens=0.5)", BadOutput, "no usable `input_tokens`"),
    "a code": ("sys.stderr.write('disk on fire'); sys.exit(3)", TransientError, "code 3.*disk on fire"),
    "a code after all": ("say(type='result', output=1); sys.exit(4)", TransientError, "ended with the code 4"),
    "a signal": ("os.kill(os.getpid(), 9)", TransientError, "killed by the signal 9"),
    "an error": ("say(type='error', message='no such order')", PermanentError, "could not do it: no such order"),
    "busy": ("say(type='error', message='busy', retry=True)", TransientError, "could not do it: busy"),
    "much": ("print('x' * 3_000_000)", LimitReached, "wrote more than 1024 KiB"),
    "many lines": ("for _ in range(10**6): say(type='log', message='again')", LimitReached, "more than 1024 KiB"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_a_program_that_misbehaves_is_refused_in_words_and_leaves_nothing(
    odd: str, services: Services, call: Call
) -> None:
    source, kind, words = ODD[odd]
    with pytest.raises(kind, match=f"(?s){words}"):
        await run_agent(call(agent=program(source)), services)
    assert not left(services)


LIMITED = {
    "sleeps": ("time.sleep(600)", {"seconds": 1}, "worked for longer than 1 s"),
    "counts": ("while True: pass", {"cpu_seconds": 1}, "more than 1 s of processors' time"),
    "forks": ("for _ in range(200): os.fork() or time.sleep(600)\ntime.sleep(600)", {}, "more than 20 processes"),
    "hides": (
        "for _ in range(200): os.fork() or (os.setsid(), time.sleep(600))\ntime.sleep(600)",
        {},
        "more than 20 processes",
    ),
    "remembers, many": (
        "for _ in range(8):\n    if not os.fork():\n        kept = b'x' * 20_000_000; time.sleep(600)\ntime.sleep(600)",
        {},
        "more than 100 MiB of memory",
    ),
    "writes": (
        "for name in range(50): open(str(name), 'wb').write(b'x' * 1_000_000)\ntime.sleep(600)",
        {},
        "more than 10 MiB into",
    ),
    "writes one": (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('large', 'wb').write(b'x' * 20_000_000)",
        {},
        "more than 10 MiB into",
    ),
    "litters": ("for name in range(500): open(str(name), 'w')\ntime.sleep(600)", {}, "more than 100 files"),
}


@pytest.mark.parametrize("what", LIMITED)
async def test_a_program_is_ended_at_its_limit_with_all_that_it_has_begun(
    what: str, services: Services, call: Call
) -> None:
    source, limits, words = LIMITED[what]
    marked = f"# {os.getpid()}-{what}-{id(services)}\n"
    kind = TransientError if what == "sleeps" else LimitReached
    with pytest.raises(kind, match=words) as caught:
        await run_agent(call(agent=program(marked + source, limits=limits)), services)
    if what == "sleeps":
        assert classify(caught.value) == ErrorClass.TIMEOUT
    assert not processes_with(marked.strip())
    assert not left(services)


async def test_one_process_that_takes_too_much_memory_is_refused_it(services: Services, call: Call) -> None:
    with pytest.raises(TransientError, match="MemoryError"):
        await run_agent(call(agent=program("kept = b'x' * 300_000_000")), services)


FAMILY = """
# {mark}
for _ in range(3):
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.setsid(); time.sleep(600)
        os._exit(0)
say(type="log", message="begun")
open("begun", "w")
time.sleep(600)
"""


async def test_it_ends_with_its_attempt_and_with_it_whatever_left_its_session(services: Services, call: Call) -> None:
    mark = f"family {os.getpid()} {id(services)}"
    work = asyncio.create_task(run_agent(call(agent=program(FAMILY.format(mark=mark))), services))
    assert await asyncio.to_thread(eventually, lambda: any(services.folder.glob(f"{FOLDER}/*/work/begun")))
    assert await asyncio.to_thread(eventually, lambda: len(processes_with(mark)) >= 4)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not processes_with(mark)
    assert not left(services)


@pytest.mark.parametrize("which", ["supervisor", "launcher"])
async def test_it_ends_when_what_watches_over_it_is_killed(which: str, services: Services, call: Call) -> None:
    mark = f"watched {os.getpid()} {id(services)} {which}"
    work = asyncio.create_task(run_agent(call(agent=program(FAMILY.format(mark=mark))), services))
    assert await asyncio.to_thread(eventually, lambda: any(services.folder.glob(f"{FOLDER}/*/work/begun")))
    mine = [pid for pid in processes_with(f"muster.isolation.{which}") if os.getpid() in ancestors(pid)]
    assert mine
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises((TransientError, PermanentError)):
        await work
    assert not processes_with(mark)
    assert not left(services)


async def test_it_sees_the_secrets_that_are_named_and_no_others(
    services: Services, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "for the shop")
    monkeypatch.setenv("BANK_KEY", "for the bank")
    agent = program(
        """
        seen = dict(os.environ)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try: seen[pid] = open(f"/proc/{pid}/environ").read()
            except OSError: pass
        found = str(seen) + str(request)
        say(type="result", output=["for the shop" in found, "for the bank" in found, sorted(os.environ)])
        """,
        inherits=["SHOP_KEY"],
        env={"COLOUR": "blue"},
    )
    result = await run_agent(call(agent=agent), services)
    names = ["COLOUR", "HOME", "LANG", "MUSTER_WORKSPACE", "PATH", "SHOP_KEY", "TMPDIR"]
    shop, bank, seen = result.output  # type: ignore[misc]
    assert (shop, bank, [name for name in seen if not name.startswith("LC_")]) == (True, False, names)


async def test_a_secret_that_is_not_there_is_missed_before_it_begins(services: Services, call: Call) -> None:
    agent = program("say(type='result', output=1)", inherits=["NO_SUCH_KEY"])
    with pytest.raises(PermanentError, match="NO_SUCH_KEY, which is not in Muster's environment"):
        await run_agent(call(agent=agent), services)


@pytest.mark.skipif(not machine().landlock, reason="this kernel has no Landlock")
async def test_it_reads_and_writes_no_files_but_its_own(services: Services, call: Call) -> None:
    secret = services.folder / "secret.txt"
    secret.write_text("the bank's")
    agent = program(f"""
        tried = []
        for path, mode in [({str(secret)!r}, "r"), ({str(services.folder / "new")!r}, "w"), ("/etc/shadow", "r"),
                           ("/dev/shm/muster-test", "w"), ("/tmp/muster-test", "w"), ("here", "w")]:
            try: open(path, mode); tried.append("done")
            except OSError as error: tried.append(type(error).__name__)
        say(type="result", output=tried)
    """)
    result = await run_agent(call(agent=agent), services)
    assert result.output == ["PermissionError"] * 5 + ["done"]
    named = program(f"say(type='result', output=open({str(secret)!r}).read())", reads=[str(secret)])
    assert (await run_agent(call(agent=named, key="code/2"), services)).output == "the bank's"


@pytest.mark.skipif(not machine().namespaces, reason="this machine lets no user make namespaces")
async def test_without_a_network_it_reaches_nothing(services: Services, call: Call) -> None:
    source = """
        import socket
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0)); server.listen()
            say(type="result", output=[name for _, name in socket.if_nameindex()])
    """
    alone = await run_agent(call(agent=program(source, network="none")), services)
    beside = await run_agent(call(agent=program(source), key="code/2"), services)
    assert alone.output == ["lo"]
    assert len(beside.output) > 1  # type: ignore[arg-type]


async def test_what_the_machine_cannot_hold_is_not_started(
    services: Services, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from muster.isolation import places

    poor = replace(machine(), namespaces=False, root=False)
    monkeypatch.setattr(places, "machine", lambda: poor)
    with pytest.raises(PermanentError, match="cannot keep a program from the network"):
        await run_agent(call(agent=program("say(type='result', output=1)", network="none")), services)
    monkeypatch.setattr(places, "machine", lambda: replace(poor, root=True))
    with pytest.raises(PermanentError, match="runs as root here"):
        await run_agent(call(agent=program("say(type='result', output=1)")), services)


async def test_what_it_spends_counts_against_its_limit_and_the_budget_of_the_run(
    services: Services, call: Call
) -> None:
    spends = """
        say(type="cost", usd="0.30")
        time.sleep(float(request["data"].get("wait", 0)))
        say(type="result", output=1)
    """
    mean = program(spends, spec={"limits": {"usd": Decimal("0.10")}})
    with pytest.raises(BudgetExceeded, match=r"has spent \$0\.3"):
        await run_agent(call(agent=mean, data={"wait": 60}), services)
    free = program(spends)
    await run_agent(call(agent=free, key="code/2", budget=Decimal("0.50")), services)
    with pytest.raises(BudgetExceeded):
        await run_agent(call(agent=free, key="code/3", budget=Decimal("0.50")), services)
    assert [event.data["cost"] for event in await recorded(services)] == ["0.3", "0.3"]


async def test_its_breaker_opens_after_failures(services: Services, call: Call) -> None:
    settings = {"breakers": {"agent:worker": {"failures": 2}}}
    for number in range(8):
        try:
            await run_agent(call(agent=program("sys.exit(1)"), key=f"code/{number}", settings=settings), services)
        except BreakerOpen:
            return
        except TransientError:
            continue
    pytest.fail("it was asked again and again")


@pytest.mark.parametrize(
    ("keep", "fails", "stays"),
    [("never", True, 0), ("on_failure", True, 1), ("on_failure", False, 0), ("always", False, 1)],
)
async def test_a_workspace_stays_when_it_was_asked_for(
    keep: str, fails: bool, stays: int, services: Services, call: Call
) -> None:
    source = "open('trace', 'w').write('here')\n" + ("sys.exit(1)" if fails else "say(type='result', output=1)")
    try:
        await run_agent(call(agent=program(source, keep=keep)), services)
    except TransientError:
        assert fails
    assert len(left(services)) == stays
    assert len(list(services.folder.glob(f"{FOLDER}/*/work/trace"))) == stays


async def test_a_folder_that_cannot_be_read_is_removed_all_the_same(services: Services, call: Call) -> None:
    source = """
        os.mkdir("deep"); open("deep/file", "w"); os.symlink("/etc/passwd", "link"); os.chmod("deep", 0)
        say(type="result", output=1)
    """
    before = Path("/etc/passwd").stat().st_mode
    await run_agent(call(agent=program(source)), services)
    assert not left(services)
    assert Path("/etc/passwd").stat().st_mode == before
