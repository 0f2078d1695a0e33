"""Programs in containers, on a real Docker engine and an image that is made of this machine's Python."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.agents.call import AgentCall
from muster.agents.errors import LimitReached
from muster.agents.runner import run_agent
from muster.errors import PermanentError, TransientError
from muster.isolation.workspaces import FOLDER
from support.agent_services import Services
from support.engine import NoEngine, engine
from support.programs import ancestors, processes_with, program
from support.waiting import eventually

Call = Callable[..., AgentCall]
IMAGE = "muster-test-python"
SYSTEM = "/usr/bin/python3"


@pytest.fixture(scope="module")
def docker() -> Iterator[dict[str, str]]:
    """The environment in which `docker` works, with an image."""
    if not Path(SYSTEM).exists():
        pytest.skip("there is no Python of the system's to make an image of")
    try:
        with engine() as variables:
            paths = [os.path.realpath(SYSTEM), SYSTEM, "/etc/passwd", *_libraries()]
            tar = subprocess.Popen(
                [
                    "tar",
                    "--create",
                    "--dereference",
                    "--absolute-names",
                    "--exclude=*/test/*",
                    "--exclude=*/dist-packages/*",
                    *paths,
                ],
                stdout=subprocess.PIPE,
            )
            done = subprocess.run(
                ["docker", "import", "-", IMAGE], stdin=tar.stdout, env=variables, capture_output=True
            )
            if tar.wait() or done.returncode:
                pytest.skip(f"no image can be made: {done.stderr.decode()[-200:]}")
            yield variables
            subprocess.run(["docker", "image", "rm", "--force", IMAGE], env=variables, capture_output=True, check=False)
    except NoEngine as error:
        pytest.skip(str(error))


def _libraries() -> list[str]:
    code = "import sysconfig; print(sysconfig.get_paths()['stdlib'])"
    library = subprocess.run([SYSTEM, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    told = subprocess.run(["ldd", os.path.realpath(SYSTEM)], capture_output=True, text=True, check=True).stdout
    needed = [word for word in told.split() if word.startswith("/")]
    return [library, *needed]


@pytest.fixture
def here(docker: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The engine, as Muster finds it."""
    for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
        if name in docker:
            monkeypatch.setenv(name, docker[name])
    return docker


def contained(source: str, **more: Any) -> Any:
    return program(source, isolation="docker", image=IMAGE, **{"network": "none", **more})


def containers(variables: dict[str, str]) -> list[str]:
    told = ["docker", "ps", "--all", "--quiet", "--filter", "label=muster.workspace"]
    return subprocess.run(told, env=variables, capture_output=True, text=True, check=True).stdout.split()


async def test_a_program_in_a_container_speaks_the_protocol_and_sees_little(
    here: dict[str, str], services: Services, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "for the shop")
    agent = contained(
        """
        import socket
        open("mine", "w").write("x")
        try: open("/etc/new", "w"); wrote = True
        except OSError: wrote = False
        say(type="result", output=[os.listdir("."), wrote, os.environ["SHOP_KEY"], os.environ.get("DOCKER_HOST"),
                                   [name for _, name in socket.if_nameindex()], os.path.exists("/work")])
        """,
        inherits=["SHOP_KEY"],
    )
    result = await run_agent(call(agent=agent), services)
    assert result.output == [["mine"], False, "for the shop", None, ["lo"], False]
    assert not containers(here)
    assert not list((services.folder / FOLDER).glob("*"))


@pytest.mark.parametrize(
    ("source", "limits", "kind", "words"),
    [
        ("time.sleep(600)", {"seconds": 3}, TransientError, "longer than 3 s"),
        ("kept = []\nwhile True: kept.append(b'x' * 1_000_000)", {}, TransientError, "signal 9|code 137"),
        ("for n in range(40): open(str(n), 'wb').write(b'x' * 1_000_000)\ntime.sleep(99)", {}, LimitReached, "10 MiB"),
        ("for n in range(200): os.fork() or time.sleep(99)", {}, TransientError, "BlockingIOError"),
    ],
    ids=["time", "memory", "disk", "processes"],
)
async def test_its_engine_holds_it_to_its_limits(
    here: dict[str, str],
    source: str,
    limits: dict[str, int],
    kind: type[Exception],
    words: str,
    services: Services,
    call: Call,
) -> None:
    with pytest.raises(kind, match=words):
        await run_agent(call(agent=contained(source, limits=limits)), services)
    assert not containers(here)


async def test_a_container_ends_with_its_attempt_and_with_its_supervisor(
    here: dict[str, str], services: Services, call: Call
) -> None:
    mark = f"contained {os.getpid()}"
    agent = contained(f"# {mark}\nopen('begun', 'w')\ntime.sleep(600)")
    for number, ends in enumerate(("cancelled", "killed")):
        work = asyncio.create_task(run_agent(call(agent=agent, key=f"code/{number}"), services))
        assert await asyncio.to_thread(eventually, lambda: any(services.folder.glob(f"{FOLDER}/*/work/begun")))
        if ends == "cancelled":
            work.cancel()
        else:
            for pid in processes_with("muster.isolation.supervisor"):
                if os.getpid() in ancestors(pid):
                    os.kill(pid, signal.SIGKILL)
        with pytest.raises((asyncio.CancelledError, TransientError)):
            await work
        # Docker may still be at removing it.
        assert await asyncio.to_thread(eventually, lambda: not containers(here) and not processes_with(mark))
        assert not list((services.folder / FOLDER).glob("*"))


async def test_without_an_engine_it_is_not_started(
    services: Services, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(PermanentError, match="wants a container"):
        await run_agent(call(agent=contained("say(type='result', output=1)")), services)
    assert not list((services.folder / FOLDER).glob("*"))
