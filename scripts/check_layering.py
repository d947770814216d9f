#!/usr/bin/env python3
"""Checks who includes whom, and that CMake and the umbrella list every file.

    scripts/check_layering.py [ROOT]

prints one line for each violation ("file:line: rule") and exits with 1 if there
is any. The compiler cannot check this: LibTorch often lies in the system's
include folder, and all rooms share one library target.
"""

import pathlib
import re
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple


class Room(NamedTuple):
    """What one room may include besides itself and the standard library."""

    rooms: Tuple[str, ...] = ()
    torch: bool = False
    tensors: bool = False  # its public headers take tensors: ATen, c10
    private_of: Tuple[str, ...] = ()  # whose private headers its own may take
    others: Tuple[str, ...] = ()  # what csrc takes of the system and of zlib
    tests: Tuple[str, ...] = ()  # whose public headers its tests may take too
    component: bool = False  # a library of its own: not in the umbrella


ROOMS: Dict[str, Room] = {
    # Private to all rooms: words, without LibTorch.
    "text": Room(),
    "schedule": Room(others=("nlohmann/json.hpp",)),
    "report": Room(),
    "tensorboard": Room(
        others=(
            "cairo.h",
            "event.pb.h",
            "librsvg/rsvg.h",
            "process.h",
            "unistd.h",
        ),
        tests=("report",),  # whose pictures it shows
        component=True,
    ),
    # Private to the rooms with LibTorch: no public header, open to all of them.
    "core": Room(torch=True),
    "state": Room(torch=True, tensors=True),
    "kernels": Room(
        torch=True,
        tensors=True,
        others=("immintrin.h",),  # table lookups in registers
    ),
    "curvature": Room(
        rooms=("state",), torch=True, tensors=True, private_of=("state",)
    ),
    "lr_scheduler": Room(
        rooms=("schedule", "curvature", "distributed", "optim", "state"),
        torch=True,
        private_of=("state", "schedule"),  # whose text its phases extend
    ),
    "optim": Room(
        rooms=("state", "kernels", "curvature", "distributed"),
        torch=True,
        private_of=("state", "kernels"),  # an optimizer drives its own loop
    ),
    "adaptive": Room(
        rooms=(
            "state",
            "kernels",
            "curvature",
            "distributed",
            "optim",
            "checkpoint",  # snapshots in files
        ),
        torch=True,
        private_of=("state", "kernels", "optim"),
        others=("immintrin.h",),  # products that no library has by half
        tests=("lr_scheduler", "schedule"),
    ),
    "tune": Room(
        rooms=(
            "schedule",
            "report",
            "kernels",
            "curvature",
            "distributed",
            "optim",
            "state",
        ),
        torch=True,
        private_of=("state",),
        # A journal of JSON that processes share.
        others=("fcntl.h", "nlohmann/json.hpp", "sys/stat.h", "unistd.h"),
        tests=("lr_scheduler",),  # whose CurvatureLR knows the same limit
    ),
    "checkpoint": Room(
        rooms=("state", "optim"),
        torch=True,
        tensors=True,
        private_of=("state", "optim"),  # what optimizers keep, by field
        others=(
            "fcntl.h",
            "nlohmann/json.hpp",
            "process.h",
            "signal.h",
            "sys/file.h",
            "sys/stat.h",
            "unistd.h",
            "zlib.h",
        ),
        tests=("schedule", "lr_scheduler", "tune"),  # all that has a state
    ),
    "data": Room(torch=True, tensors=True, tests=("checkpoint", "tune")),
    "distributed": Room(
        torch=True,
        tensors=True,
        others=(
            "fcntl.h",
            "netdb.h",
            "netinet/in.h",
            "poll.h",
            "stdlib.h",
            "sys/socket.h",
            "unistd.h",
        ),
    ),
}

# A class that steps parameters.
OPTIMIZER = re.compile(
    r"^class (\w+)\s*: public "
    r"(?:IndexedOptimizer|ClippedOptimizer|DiagonalHessianOptimizer"
    r"|DistanceAdam|MeasuredSGD|ScheduleFreeOptimizer)\b",
    re.M,
)

OPTIMIZER_BASES = (
    "ClippedOptimizer",
    "DiagonalHessianOptimizer",
    "DistanceAdam",
    "MeasuredSGD",
    "ScheduleFreeOptimizer",
)

TORCH_PREFIXES = ("torch", "ATen", "c10", "caffe2")

# Headers that pull in most of LibTorch, or all of stepsize.
UMBRELLAS = {
    "torch/torch.h",
    "torch/all.h",
    "torch/data.h",
    "torch/extension.h",
    "torch/nn.h",
    "torch/optim.h",
    "torch/script.h",
    "torch/utils.h",
    "stepsize/stepsize.h",
}

# What a public header may take from LibTorch.
PUBLIC_TORCH = {
    "torch/arg.h",
    "torch/data/samplers/base.h",
    "torch/data/worker_exception.h",
    "torch/nn/modules/batchnorm.h",
    "torch/nn/pimpl.h",
    "torch/optim/optimizer.h",
    "torch/optim/schedulers/lr_scheduler.h",
    "torch/serialize/archive.h",
    "torch/serialize/input-archive.h",
    "torch/serialize/output-archive.h",
}

STANDARD_HEADERS = set(
    """
    algorithm any array atomic barrier bit bitset cassert ccomplex cctype cerrno
    cfenv cfloat charconv chrono cinttypes ciso646 climits clocale cmath codecvt
    compare complex concepts condition_variable coroutine csetjmp csignal
    cstdarg cstdbool cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar
    cwctype deque exception execution filesystem format forward_list fstream
    functional future initializer_list iomanip ios iosfwd iostream istream
    iterator latch limits list locale map memory memory_resource mutex new
    numbers numeric optional ostream queue random ranges ratio regex
    scoped_allocator semaphore set shared_mutex source_location span sstream
    stack stdexcept stop_token streambuf string string_view strstream
    syncstream system_error thread tuple type_traits typeindex typeinfo
    unordered_map unordered_set utility valarray variant vector version
    """.split()
)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class Include(NamedTuple):
    line: int
    name: str
    quoted: bool


def includes_of(text: str) -> Iterator[Include]:
    """The #include lines of a source text, those in comments left out."""

    def blank(match: "re.Match[str]") -> str:
        return "\n" * match.group(0).count("\n")

    for number, line in enumerate(
        BLOCK_COMMENT.sub(blank, text).splitlines(), start=1
    ):
        match = INCLUDE.match(line)
        if match:
            yield Include(number, match.group(2), match.group(1) == '"')


def is_torch(name: str) -> bool:
    return name.split("/")[0] in TORCH_PREFIXES and "/" in name


class Checker:
    """Walks one tree and collects its violations."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.violations: List[str] = []

    def run(self) -> List[str]:
        for path in self.sources("include", "csrc", "tests", "examples",
                                 "benchmarks"):
            self.check_file(path)
        self.check_listed()
        self.check_optimizers()
        return self.violations

    def sources(self, *folders: str) -> Iterator[pathlib.Path]:
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in (".h", ".cpp") and path.is_file():
                    yield path

    def report(self, path: pathlib.Path, line: int, rule: str) -> None:
        relative = path.relative_to(self.root).as_posix()
        self.violations.append(f"{relative}:{line}: {rule}")

    def check_file(self, path: pathlib.Path) -> None:
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(self.root).parts
        if path.suffix == ".h" and not re.search(
            r"^#pragma once$", text, re.MULTILINE
        ):
            self.report(path, 1, "a header needs #pragma once")
        for include in includes_of(text):
            rule = self.violated_rule(path, parts, include)
            if rule:
                self.report(path, include.line, rule)

    def violated_rule(
        self, path: pathlib.Path, parts: Tuple[str, ...], include: Include
    ) -> Optional[str]:
        """The rule that the include breaks, or None."""
        name = include.name
        if include.quoted:
            name = self.resolve(path, name)
            if name is None:
                return (
                    f'"{include.name}" is no file of the project: write the '
                    "path from the project's folder"
                )
            if name.startswith("include/"):
                return f'"{include.name}" is public: include it with <>'
        target = name.split("/")
        folder = parts[0]
        public = folder == "include"

        if target[0] == "tests" and folder != "tests":
            return f"{folder}/ may not include tests/"
        if target[0] == "benchmarks" and folder != "benchmarks":
            return f"{folder}/ may not include benchmarks/"
        if target[0] == "examples" and not (
            folder == "examples"
            or parts[:2] in (("tests", "trainer"), ("tests", "lab"))
        ):
            return f"{folder}/ may not include examples/"
        if target[0] == "csrc" and folder not in ("csrc", "tests"):
            return f"{folder}/ may not include the private {name}"
        if public and include.quoted:
            return "a public header includes public headers only, with <>"

        if public and parts == ("include", "stepsize", "stepsize.h"):
            if target[0] != "stepsize":
                return "the umbrella includes the public headers and no more"
            return None
        if folder in ("examples", "benchmarks"):
            return None
        room_name = parts[2] if public and len(parts) > 3 else parts[1]
        if room_name not in ROOMS:
            # tests/support, tests/trainer and the like belong to no room.
            if folder == "tests":
                return None
            return f"there is no room {room_name}"
        if name in UMBRELLAS and folder != "tests":
            return f"<{name}> is an umbrella: include what is used"
        return self.violated_room_rule(room_name, folder, name, include.quoted)

    @staticmethod
    def violated_room_rule(
        room_name: str, folder: str, name: str, quoted: bool
    ) -> Optional[str]:
        room = ROOMS[room_name]
        target = name.split("/")
        if target[0] in ("stepsize", "csrc"):
            other = target[1]
            if other == "stepsize.h" or other == room_name:
                return None
            if target[0] == "csrc" and other == "core" and room.torch:
                return None
            if target[0] == "csrc" and other == "text":
                return None
            if folder == "tests" and target[0] == "stepsize":
                if other in room.tests:
                    return None
            if other not in room.rooms:
                return f"the room {room_name} may not include {other} (<{name}>)"
            if target[0] == "csrc" and (
                other not in room.private_of or folder == "include"
            ):
                return f"<{name}> is private to the room {other}"
            return None
        if is_torch(name):
            if not room.torch:
                return f"the room {room_name} may not include LibTorch (<{name}>)"
            if folder == "include" and name not in PUBLIC_TORCH:
                if not (room.tensors and target[0] in ("ATen", "c10")):
                    return f"a public header may not include <{name}>"
            return None
        if quoted or name in STANDARD_HEADERS:
            return None
        if folder == "tests":
            return None  # GoogleTest, POSIX
        if folder == "csrc" and name in room.others:
            return None
        return f"the room {room_name} may not include <{name}>"

    def resolve(self, path: pathlib.Path, name: str) -> Optional[str]:
        """The path from the root of a file included with quotes."""
        folders = (self.root, path.parent, self.root / "include")
        for candidate in (folder / name for folder in folders):
            if candidate.is_file():
                return candidate.resolve().relative_to(self.root).as_posix()
        return None

    def check_listed(self) -> None:
        """Every source stands in its folder's CMakeLists.txt, every public
        header in its room's and in the umbrella."""
        umbrella = self.root / "include/stepsize/stepsize.h"
        gathered: Set[str] = set()
        if umbrella.is_file():
            text = umbrella.read_text(encoding="utf-8")
            gathered = {include.name for include in includes_of(text)}
        for path in self.sources("include", "csrc", "tests", "examples",
                                 "benchmarks"):
            if path == umbrella or "package" in path.parts:
                continue
            name = path.relative_to(self.root).as_posix()
            if name.startswith("include/"):
                public_name = name[len("include/"):]
                room = path.parent.name
                component = room in ROOMS and ROOMS[room].component
                if component and public_name in gathered:
                    self.report(
                        path, 1, "stepsize.h includes it, of a component")
                if not component and public_name not in gathered:
                    self.report(path, 1, "stepsize.h does not include it")
                if not self.is_listed(self.root / "csrc" / room, path.name):
                    self.report(
                        path, 1, f"csrc/{room}/CMakeLists.txt does not list it")
            elif path.suffix == ".cpp":
                if not self.is_listed(path.parent, path.name):
                    self.report(path, 1, "no CMakeLists.txt lists it")

    def check_optimizers(self) -> None:
        """Every optimizer has a row on its page and a test."""
        for room, docs in (
            ("optim", "docs/optimizers.md"),
            ("adaptive", "docs/adaptive.md"),
        ):
            self.check_optimizers_of(room, docs)

    def check_optimizers_of(self, room: str, docs: str) -> None:
        page = self.root / docs
        if not page.is_file():
            return
        rows = page.read_text(encoding="utf-8")
        tests = [
            test.read_text(encoding="utf-8")
            for test in sorted((self.root / "tests" / room).glob("*_test.cpp"))
        ]
        headers = self.root / "include/stepsize" / room
        for path in sorted(headers.glob("*.h")):
            for name in OPTIMIZER.findall(path.read_text(encoding="utf-8")):
                if name in OPTIMIZER_BASES:
                    continue
                if f"| [`{name}`](" not in rows:
                    self.report(path, 1, f"{docs} has no row of {name}")
                if not any(re.search(rf"\b{name}\b", test) for test in tests):
                    self.report(
                        path, 1, f"no tests/{room}/*_test.cpp has {name}")

    def is_listed(self, folder: pathlib.Path, file_name: str) -> bool:
        """Whether the nearest CMakeLists.txt names the file."""
        while folder != self.root:
            lists = folder / "CMakeLists.txt"
            if lists.is_file():
                text = re.sub(r"#.*", "", lists.read_text(encoding="utf-8"))
                pattern = rf"(?<![\w.-]){re.escape(file_name)}(?![\w.-])"
                return re.search(pattern, text) is not None
            folder = folder.parent
        return False


def check(root: pathlib.Path) -> List[str]:
    """The violations of the tree at `root`, one a string."""
    return Checker(root.resolve()).run()


def main(arguments: List[str]) -> int:
    if len(arguments) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(
        arguments[0] if arguments else pathlib.Path(__file__).parent.parent
    )
    if not (root / "include/stepsize/stepsize.h").is_file():
        print(f"check_layering: {root} is no stepsize tree", file=sys.stderr)
        return 2
    violations = check(root)
    for violation in violations:
        print(violation)
    if violations:
        print(f"check_layering: {len(violations)} violation(s)")
        return 1
    print("check_layering: every include keeps to the rules")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
