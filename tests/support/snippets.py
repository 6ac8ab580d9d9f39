"""Plays a README: runs its examples from top to bottom, as a reader would. See `test_readme_snippets`."""

import doctest
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx

from workspace import ROOT

BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: (?P<file>[\w./-]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = {"pip", "uv", "uvx", "git"}


@attrs.define
class Player:
    """Plays one README.

    Attributes:
        folder: where files are written and commands run.
        port: what stands for port 8080.
        programs: the folder of the `python` and the `mlsrv` to use.
        variables: what else to set in the environment of commands.
    """

    folder: Path
    port: int
    programs: Path = Path(sys.executable).parent
    variables: dict[str, str] = attrs.field(factory=dict)
    server: "subprocess.Popen[str] | None" = None

    def play(self, text: str) -> int:
        """Run or write every block that is meant for it. Returns their number."""
        for name in set(re.findall(r"\btests/examples/[\w-]+", text)):
            link = self.folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(ROOT / name)
        played = 0
        for match in BLOCK.finditer(text):
            content = re.sub(r"\b(localhost|127\.0\.0\.1):8080\b", rf"\1:{self.port}", match["text"])
            played += 1
            if match["file"]:
                path = self.folder / match["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            elif match["language"] == "python":
                self.run(["python", "-c", content])
            elif match["language"] == "console":
                for command, expected in commands(content):
                    self.command(command, expected)
            else:
                played -= 1
        return played

    def command(self, line: str, expected: str) -> None:
        """Do what one line of a console block says."""
        before, starts, arguments = line.rpartition("mlsrv start ")
        words = shlex.split(line)
        if starts and (not before or words[0] in NOT_RUN):
            self.start(["mlsrv", "start", *shlex.split(arguments)])
        elif words[0] == "curl":
            compare(curl(words[1:]), expected)
        elif words[0] in ("mlsrv", "python"):
            if words[-2:-1] == [">"]:
                (self.folder / words[-1]).write_text(self.run(words[:-2]), encoding="utf-8")
            else:
                compare(self.run(words), expected)
        elif words[:2] == ["rm", "-r"]:
            shutil.rmtree(self.folder / words[2])
        else:
            assert words[0] in NOT_RUN, f"a console block has a command that is not known here: {line}"

    def run(self, command: list[str]) -> str:
        """Run a program to its good end. Returns what it printed."""
        done = subprocess.run(
            self.program(command),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: list[str]) -> None:
        """Start a server and wait until it is ready."""
        self.stop()
        with self.log.open("w", encoding="utf-8") as log:
            self.server = subprocess.Popen(
                self.program(command),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.server.poll() is None, f"{command} ended:\n{self.log.read_text(encoding='utf-8')}"
            assert time.monotonic() < deadline, (
                f"{command} is not ready:\n{self.log.read_text(encoding='utf-8')}"
            )
            time.sleep(0.05)

    def answers(self) -> bool:
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{self.port}/v2/health/ready"
            try:
                return httpx.get(url, verify=False).status_code == 200
            except httpx.TransportError:
                pass
        return False

    def stop(self) -> None:
        """Press ctrl-C. The server must end well."""
        if self.server is not None:
            server, self.server = self.server, None
            server.send_signal(signal.SIGINT)
            try:
                code = server.wait(timeout=15)
            finally:
                server.kill()
                server.wait(timeout=15)
            assert code == 0, self.log.read_text(encoding="utf-8")

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def program(self, command: list[str]) -> list[str]:
        return [str(self.programs / command[0]), *command[1:]]

    def environment(self) -> dict[str, str]:
        """The environment of a command: its own programs first, no Python settings, and the free port."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLS"))}
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        # Some frameworks send statistics of their use to their makers, unless told not to.
        ours = {
            "PATH": path,
            "MLSRV_HOST": "127.0.0.1",
            "MLSRV_HTTP_PORT": str(self.port),
            "DO_NOT_TRACK": "true",
        }
        return kept | ours | self.variables


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and the lines below it."""
    for part in re.split(r"^\$ ", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        yield line, expected


def curl(arguments: list[str]) -> str:
    """What `curl` prints, for the few of its options that READMEs need: it is not on every machine."""
    method, url, body, shows_head = "", "", None, False
    headers: dict[str, str] = {}
    rest = iter(arguments)
    for word in rest:
        if word in ("-d", "--data"):
            body = next(rest)
        elif word in ("-X", "--request"):
            method = next(rest)
        elif word in ("-H", "--header"):
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif word in ("-i", "--include"):
            shows_head = True
        elif word.startswith("-"):
            assert word in ("-s", "--silent", "-sS"), f"curl {word} is not known here"
        else:
            url = word if "://" in word else f"http://{word}"
    if body is not None:
        headers = {"content-type": "application/x-www-form-urlencoded"} | headers
    response = httpx.request(
        method or ("GET" if body is None else "POST"), url, content=body, headers=headers
    )
    head = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\n" if shows_head else ""
    return head + response.text


def compare(found: str, expected: str) -> None:
    """Fail unless the output is the expected one; nothing expected means that it does not matter."""
    if not expected.strip():
        return
    message = f"expected:\n{expected}\nfound:\n{found}"
    try:
        assert json.loads(found) == json.loads(expected), message
    except json.JSONDecodeError:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, found, flags), message
