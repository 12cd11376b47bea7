"""The dependency rule: which package may import which, and that importing does nothing."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.declarations import ALL_NAMES

ROOT = Path(__file__).resolve().parent.parent.parent
LOWER = ("model", "network")  # what every package may import; model stands below network
PACKAGES = ("callbacks", "streams", "exchanges", "aggregation", "consumers", "conf")  # which never import each other
APP = "app"  # the one that imports them all, and that only main.py imports
MAIN = "main"
EXCEPTIONS = {  # a library has no app that hands the threads and sessions of streams to it
    ("exchanges.bybit.client.private_stream", "streams"),
    ("exchanges.bybit.client.public_streams", "streams"),
    ("exchanges.bybit.client.stream_threads", "streams"),
    ("exchanges.bybit.client.websocket", "streams"),
}
SIMULATOR = "exchanges.simulated"
SIMULATOR_NAME = "exchanges.bybit.simulator"  # another name of it, to start it by
CLIENT = "exchanges.bybit.client"
FEED = "feed"  # what users import in programs of theirs, by itself
SHARED = {  # what modules hold that is no plain constant, and why two collectors of one process may share it
    "main.STREAMS": "the list that users append to; the only one of its kind",
    "callbacks.liquidations.handle_liquidations": "a name of users'; it finds the collector of the calling thread",
    "callbacks.orderbook.handle_orderbook": "likewise",
    "callbacks.orderbook.handle_spot_orderbook": "likewise",
    "callbacks.ticker.handle_spot_ticker": "likewise",
    "callbacks.ticker.handle_ticker": "likewise",
    "callbacks.trades.handle_spot_trades": "likewise",
    "callbacks.trades.handle_trades": "likewise",
    "consumers.redis.checkpoint.store.NO_UPDATE": "has nothing to be written to",
    "consumers.web.topics.EVERYTHING": "a filter; it only compiles itself at its first use",
    "exchanges.registry.VENUES": "has no state: looks at folders, and imports what it is asked for",
    "exchanges.rest_limits._sites": "an exchange counts the requests of the process, and bans its address",
    "exchanges.rest_limits._sites_lock": "guards it",
    "model.context._of_thread": "each thread has its own",
    "model.events.NO_EVENTS": "has no state",
    "model.problems.NO_OUTAGES": "has no state",
    "network.deadline._KEEPER": "one thread for all deadlines of the process",
    "network.http._of_thread": "each thread has its own",
    "network.sockets._lookups": "one resolver for the process",
    "network.sockets._lookups_lock": "guards it",
}
STATEFUL = {"local", "Lock", "RLock", "Condition", "Event", "deque", "defaultdict", "OrderedDict", "Counter"}
STATEFUL |= {"dict", "list", "set", "SimpleQueue", "Queue", "WeakKeyDictionary", "WeakValueDictionary"}
IMPORT_LIMIT_S = 60

PROBE = """
import builtins, importlib, os, sys, threading

read = []
class Watched(type(os.environ)):
    def __getitem__(self, key):
        self.saw(key)
        return super().__getitem__(key)
    def get(self, key, default=None):
        self.saw(key)
        return super().get(key, default)
    def __contains__(self, key):
        self.saw(key)
        return super().__contains__(key)
    def saw(self, key):
        if key in NAMES:
            read.append(key)

NAMES = frozenset(sys.argv[1].split(","))
os.environ.__class__ = Watched
opened, real_open = [], builtins.open
def watching_open(file, *arguments, **options):
    if str(file).endswith(".env"):
        opened.append(file)
    return real_open(file, *arguments, **options)
builtins.open = watching_open
for module in sys.argv[2:]:
    importlib.import_module(module)
    threads = [thread.name for thread in threading.enumerate()]
    assert threads == ["MainThread"], f"{module} started {threads}"
    assert not read, f"{module} read {read} from the environment"
    assert not opened, f"{module} opened {opened}"
"""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    """Module name -> path of everything of ours that is not a test or a benchmark."""
    files = [path for package in (*LOWER, *PACKAGES, APP, FEED) for path in (ROOT / package).rglob("*.py")]
    return {name_of(path): path for path in [*files, *ROOT.glob("*.py")]}


def imported_by(path: Path, root: Path = ROOT) -> set[str]:
    """Every module that a file's import statements name, those inside functions too; relative ones resolved."""
    package = list(path.relative_to(root).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {origin, *(f"{origin}.{alias.name}".lstrip(".") for alias in node.names)}
    return found


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def importers(targets: tuple[str, ...], among: tuple[str, ...]) -> list[str]:
    """`module imports target` for what `among` imports of `targets`, but for the exceptions and for itself."""
    return [
        f"{module} imports {target}"
        for module, path in sources().items()
        if any(is_inside(module, each) for each in among)
        for target in sorted(imported_by(path))
        if any(is_inside(target, each) and not is_inside(module, each) for each in targets)
        and not any(module == who and is_inside(target, what) for who, what in EXCEPTIONS)
    ]


def test_the_packages_are_where_the_test_looks() -> None:
    """A rule over packages that are not there would hold for ever."""
    modules = sources()

    assert all(any(is_inside(module, package) for module in modules) for package in (*LOWER, *PACKAGES, APP, FEED))
    assert {MAIN, SIMULATOR, *(who for who, _ in EXCEPTIONS)} <= set(modules)


def test_relative_imports_are_seen(tmp_path: Path) -> None:
    """The parser of this file reads every way to write an import."""
    module = tmp_path / "streams" / "runner.py"
    module.parent.mkdir()
    module.write_text("import conf.settings as s\ndef f():\n from .. import aggregation\n from .frames import x\n")

    assert {"conf.settings", "aggregation", "streams.frames", "streams.frames.x"} <= imported_by(module, tmp_path)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_never_import_each_other(package: str) -> None:
    """app joins them; what two of them share is a record or a port in model."""
    assert importers((*PACKAGES, APP, MAIN), (package,)) == []


def test_nobody_but_main_imports_the_application() -> None:
    """Nor does anybody import main, but the user's scripts."""
    assert importers((APP, MAIN), (*LOWER, *PACKAGES)) == []
    assert importers((MAIN,), (APP,)) == []


def test_the_lower_layer_imports_nothing_above_it() -> None:
    """model imports nothing of ours, network nothing but model."""
    assert importers((*PACKAGES, APP, MAIN), LOWER) == []
    assert importers(("network",), ("model",)) == []


def test_the_reading_library_stands_alone() -> None:
    """Users copy the folder: it imports nothing of ours, and nothing of ours needs it."""
    assert importers((*LOWER, *PACKAGES, APP, MAIN), (FEED,)) == []
    assert importers((FEED,), (*LOWER, *PACKAGES, APP, MAIN)) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not for its types alone either: what two modules need of each other is a port, or one module."""
    modules = sources()
    imports = {
        module: {target for target in imported_by(path) if target in modules and not is_inside(module, target)}
        for module, path in modules.items()
    }
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def classes(path: Path) -> dict[str, bool]:
    """Every class that a file defines, and whether its instances can change."""
    found = {node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)}
    marks = {node.name: [ast.unparse(each) for each in (*node.decorator_list, *node.bases)] for node in found}
    for node in found:
        marks[node.name] += [f"{each.arg}={ast.unparse(each.value)}" for each in node.keywords]
    fixed = ("NamedTuple", "IntEnum", "frozen=True", "Error", "Exception")
    return {name: not any(mark in text for text in texts for mark in fixed) for name, texts in marks.items()}


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Names and values of what a module assigns when it is imported, inside `if` and `try` too."""
    for node in body:
        if isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value
        for part in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from assignments(getattr(node, part, []))


def makes_an_object(value: ast.AST, stateful: set[str]) -> bool:
    """Whether an expression makes an instance of one of these classes, or an empty container, which will be filled."""
    if isinstance(value, (ast.Lambda, ast.Subscript)):  # made where it is called; a type
        return False
    if isinstance(value, (ast.Dict, ast.List)) and not ast.unparse(value).strip("{}[]"):
        return True
    if isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in stateful:
        return not (isinstance(value.func, ast.Name) and value.func.id in ("dict", "list", "set") and value.args)
    return any(makes_an_object(child, stateful) for child in ast.iter_child_nodes(value))


def shared_objects(modules: dict[str, Path]) -> set[str]:
    ours = {name for path in modules.values() for name, can_change in classes(path).items() if can_change}
    return {
        f"{module}.{name}"
        for module, path in modules.items()
        for name, value in assignments(ast.parse(path.read_text()).body)
        if makes_an_object(value, STATEFUL | ours)
    }


def test_no_module_holds_an_object_that_changes() -> None:
    """Throttles, caches, locks and services are handed in; what is left is listed with its reason."""
    modules = {
        module: path
        for module, path in sources().items()
        if not is_inside(module, SIMULATOR) and not is_inside(module, CLIENT)
    }

    assert shared_objects(modules) == set(SHARED)


def test_objects_of_a_module_are_seen(tmp_path: Path) -> None:
    """The search for them reads every way to hold one."""
    module = tmp_path / "module.py"
    module.write_text(
        "class Ours: ...\n@dataclass(frozen=True)\nclass Fixed: ...\n"
        "a = Ours()\nb: Ours = Ours(1)\nc = {}\nd = threading.Lock()\nif a:\n    e = [Ours()]\n"
        "f = Fixed()\ng = {'x': 1}\nh = lambda: Ours()\n"
    )

    assert shared_objects({"m": module}) == {"m.a", "m.b", "m.c", "m.d", "m.e"}


def test_production_never_imports_the_simulator() -> None:
    """Nothing that runs at a user's stands on the simulated exchange; the demo alone starts it, as a process."""
    users = [
        module
        for module, path in sources().items()
        if not is_inside(module, SIMULATOR)
        and not is_inside(module, SIMULATOR_NAME)
        and any(is_inside(target, SIMULATOR) for target in imported_by(path))
    ]

    assert users == []


def test_the_simulator_imports_nothing_of_ours() -> None:
    """A misreading of the protocol must not hide by being shared."""
    borrowed = [
        f"{module} imports {target}"
        for module, path in sources().items()
        if is_inside(module, SIMULATOR)
        for target in imported_by(path)
        if any(is_inside(target, each) for each in (*LOWER, *PACKAGES, APP, MAIN)) and not is_inside(target, SIMULATOR)
    ]

    assert borrowed == []


def test_importing_starts_nothing_and_reads_no_setting() -> None:
    """No thread, no .env, none of our names looked up in the environment: only running does that."""
    modules = sorted(module for module in sources() if not module.endswith("__main__"))
    probe = [sys.executable, "-W", "error::ResourceWarning", "-c", PROBE, ",".join(sorted(ALL_NAMES)), *modules]
    done = subprocess.run(
        probe, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=IMPORT_LIMIT_S
    )

    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout == ""
