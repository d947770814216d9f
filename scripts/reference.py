#!/usr/bin/env python3
"""What scripts/docs.sh needs besides Doxygen.

    scripts/reference.py prepare FOLDER    write what Doxygen reads to FOLDER
    scripts/reference.py check FOLDER      check the links of the pages there

`prepare` puts headers and pages into Doxygen's terms:

- A header's members go into the group of its room. TORCH_ARG becomes the setter
  that it declares, with the comment above and the default. Indented lines of a
  comment, which are code or a formula, become a block.
- A page's headings get names, and its links lead to these: the pages are read
  on a forge as well, where Doxygen's own names mean nothing. Programs that a
  page links to become pages, other files are copied.

`check` prints one line a fault and exits with 1 if there is any.
"""

import argparse
import functools
import html.parser
import pathlib
import re
import sys
import urllib.parse
from typing import Dict, Iterator, List, Match, Set, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
CODE_SPAN = re.compile(r"`[^`\n]+(?:\n[^`\n]+)?`")
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^)\s]+)\)")
REFERENCE = re.compile(r'@ref \S+ "[^"\n]*"|\[[^]]*\]\(@ref \S+\)')
BOLD = re.compile(r"\*\*((?:[^*\n]|\n(?!\n))+)\*\*")
HIDDEN = re.compile(r"\0(\d+)\0")
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
ARGUMENT = re.compile(r"^\s*TORCH_ARG\((.+),\s*(\w+)\)\s*(?:=\s*(.+?))?\s*;$")


# Pages


def name_of_page(page: pathlib.PurePath) -> str:
    return "-".join(page.with_suffix("").parts).lower()


def anchor_of(heading: str) -> str:
    """The anchor that a forge gives the heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


def inside(page: pathlib.PurePath, link: str) -> pathlib.PurePath:
    """The file of the tree that a link of the page leads to."""
    parts: List[str] = []
    for part in page.parent.joinpath(link).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return pathlib.PurePath(*parts)


def rewritten(page: pathlib.PurePath, match: Match[str]) -> str:
    picture, text, link = match.groups()
    if re.match(r"[a-z]+:", link):
        return match.group()
    path, _, anchor = link.partition("#")
    target = inside(page, path) if path else page
    # In Doxygen's references a text has one line, and no code.
    text = re.sub(r"\s+", " ", text)
    if picture:
        return f"![{text}]({target.name})"
    if target.suffix == ".md":
        name = name_of_page(target) + (f"-{anchor}" if anchor else "")
        return f"[{text}](@ref {name})"
    if target.parts[0] == "include":
        return f'@ref {target.relative_to("include")} "{text}"'
    if target.parts[0] == "examples" and target.suffix == ".cpp":
        return f'@ref {target.relative_to("examples")} "{text}"'
    if (ROOT / target).is_dir():
        return text
    return f'<a href="files/{target}.txt">{text}</a>'


def outside_code(text: str, page: pathlib.PurePath) -> str:
    """The text with its links rewritten, but for those inside code, and with
    links from names of classes."""
    spans: List[str] = []

    def hide(match: Match[str]) -> str:
        spans.append(match.group())
        return f"\0{len(spans) - 1}\0"

    def show(match: Match[str]) -> str:
        return spans[int(match.group(1))]

    def show_in_link(match: Match[str]) -> str:
        return HIDDEN.sub(lambda m: show(m)[1:-1], match.group())

    def refer(match: Match[str]) -> str:
        name = show(match)[1:-1]
        if name in public_classes():
            return f'@ref stepsize::{name} "{name}"'
        return match.group()

    text = CODE_SPAN.sub(hide, text)
    # Doxygen knows no bold text that begins or ends with code.
    text = BOLD.sub(r"<b>\1</b>", text)
    text = LINK.sub(lambda match: rewritten(page, match), text)
    text = REFERENCE.sub(show_in_link, text)
    lines = [
        line if line.startswith("#") else HIDDEN.sub(refer, line)
        for line in text.split("\n")
    ]
    return HIDDEN.sub(show, "\n".join(lines))


@functools.lru_cache(maxsize=None)
def public_classes() -> Set[str]:
    names: Set[str] = set()
    for header in (ROOT / "include").rglob("*.h"):
        text = header.read_text(encoding="utf-8")
        names.update(re.findall(r"^class (\w+)[^;]*?\{", text, re.MULTILINE))
    return names


def filter_page(page: pathlib.PurePath, text: str) -> str:
    text = re.sub(r"^<!--.*?-->\n", "\n", text, flags=re.MULTILINE)
    seen: Dict[str, int] = {}

    def named(match: Match[str]) -> str:
        level = len(match.group(1))
        name = name_of_page(page)
        if level > 1:
            name += "-" + anchor_of(match.group(2))
        # The same heading again gets a number, as on a forge.
        seen[name] = seen.get(name, -1) + 1
        if seen[name]:
            name += f"-{seen[name]}"
        contents = level == 1 and page.parts[0] == "docs"
        return f"{match.group()} {{#{name}}}" + "\n\n[TOC]" * contents

    # With a group in the pattern, every second part is a block of code.
    parts = FENCE.split(text)
    for i in range(0, len(parts), 2):
        prose = outside_code(parts[i], page)
        parts[i] = re.sub(r"^(#+) (.*)$", named, prose, flags=re.MULTILINE)
    return "".join(parts)


def pages() -> List[pathlib.PurePath]:
    """README.md and the pages that are reached from it."""
    found = [pathlib.PurePath("README.md")]
    for page in found:  # which grows
        for target in linked_files(page):
            if target.suffix == ".md" and target not in found:
                found.append(target)
    return found


def linked_files(page: pathlib.PurePath) -> Iterator[pathlib.PurePath]:
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for _, _, link in LINK.findall(CODE_SPAN.sub("", text)):
        if not re.match(r"[a-z]+:|#", link):
            target = inside(page, link.partition("#")[0])
            if (ROOT / target).is_file():
                yield target


def prepare(folder: pathlib.Path) -> None:
    def write(name: str, text: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    commands = []
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        # All in one folder, so that the list of files is one of headers.
        write(f"source/{name_of_page(page)}.md", filter_page(page, text))
        for target in linked_files(page):
            if target.parts[0] == "examples" and target.suffix == ".cpp":
                inner = target.relative_to("examples")
                commands.append(f"/** @example {inner} */\n")
            elif target.suffix not in (".md", ".svg"):
                copied = ROOT / target
                write(f"html/files/{target}.txt", copied.read_text("utf-8"))
    write("source/programs.dox", "".join(sorted(set(commands))))
    rooms = ROOT / "docs/reference/rooms.dox"
    write("source/rooms.dox", rooms.read_text(encoding="utf-8"))
    for header in sorted((ROOT / "include").rglob("*.h")):
        path = header.relative_to(ROOT)
        text = header.read_text(encoding="utf-8")
        write(f"source/{path}", filter_header(path, text))


# Headers


def with_blocks(comment: List[str]) -> List[str]:
    """The lines of a comment, with those indented as a block."""
    texts = [re.sub(r"^\s*/// ?", "", line) for line in comment]
    result: List[str] = []
    end = ""
    indent_of_block = 0
    for i, text in enumerate(texts):
        indent = len(text) - len(text.lstrip())
        if not end and indent >= 2 and (i == 0 or not texts[i - 1].strip()):
            # Four spaces are Markdown's code, less is a formula.
            code = indent >= 4
            end = "```"
            indent_of_block = indent
            result.append("/// ```cpp" if code else "/// ```text")
        elif end and text.strip() and not indent:
            result.insert(len(result) - 1, "/// " + end)
            end = ""
        text = text[indent_of_block:] if end else text
        result.append(f"/// {text}".rstrip())
    if end:
        result.append("/// " + end)
    return result


def with_default(comment: List[str], default: str) -> List[str]:
    """The comment with the default at the end of what the overview shows."""
    if not default:
        return comment
    blank = [i for i, line in enumerate(comment) if not line[3:].strip()]
    end = blank[0] if blank else len(comment)
    default = f"Default: `{default}`."
    # A full stop before a plain space would end what the overview shows.
    brief = " ".join(line[3:].strip() for line in comment[:end])
    brief = re.sub(r"\. ", r".\\ ", f"{brief} {default}".strip())
    return ["/// @brief " + brief, *comment[end:]]


def filter_header(path: pathlib.PurePath, text: str) -> str:
    lines: List[str] = []
    comment: List[str] = []
    options = ""  # the class whose options are being declared
    name = ""
    pending = ""

    def close() -> None:
        nonlocal options
        if options:
            lines.append("/// @}")
        options = ""

    for line in text.split("\n"):
        if re.match(r"\s*///(?!<)", line):
            comment.append(line)
            continue
        pending = (pending + " " + line.strip()).strip() if pending else line
        if re.match(r"\s*TORCH_ARG\(", pending) and ";" not in pending:
            continue
        line, pending = pending, ""
        argument = ARGUMENT.match(line)
        if argument:
            kind, option, default = argument.groups()
            if options != name:
                close()
                options = name
                lines += [
                    "/// @name Options",
                    "/// x(value) sets the option x, x() returns it.",
                    "/// @{",
                    "",
                ]
            lines += with_default(with_blocks(comment), default)
            lines.append(f"public: {name}& {option}({kind} value); private:")
            comment = []
            continue
        if options and line.strip():
            close()
        lines += with_blocks(comment)
        comment = []
        declared = re.match(r"\s*(?:class|struct) (\w+)[^;]*$", line)
        if declared:
            name = declared.group(1)
        lines.append(line)
    result = "\n".join(lines)
    room = path.parts[2] if len(path.parts) > 3 else ""
    if room:
        result = result.replace(
            "\nnamespace stepsize {\n",
            f"\nnamespace stepsize {{\n/// @addtogroup {room}\n/// @{{\n",
        ).replace("\n}  // namespace stepsize\n", "\n/// @}\n}\n")
    return result


# What was written


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: Set[str] = set()
        self.links: List[str] = []

    def handle_starttag(
        self, tag: str, attributes: List[Tuple[str, str]]
    ) -> None:
        for key, value in attributes:
            if key == "id" or (tag == "a" and key == "name"):
                self.names.add(value or "")
            elif key in ("href", "src") or (tag, key) == ("object", "data"):
                self.links.append(value or "")


def check(folder: pathlib.Path) -> List[str]:
    pages: Dict[pathlib.Path, Page] = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    faults = []
    for path, page in pages.items():
        for link in page.links:
            # Doxygen itself forgets this anchor, of a class in a class.
            if re.match(r"[a-z]+:|#nested-classes$", link):
                continue
            name, _, anchor = link.partition("#")
            target = path.parent / urllib.parse.unquote(name) if name else path
            if not target.exists():
                faults.append(f"{path.name}: {link} leads nowhere")
            elif anchor and target in pages:
                if urllib.parse.unquote(anchor) not in pages[target].names:
                    faults.append(f"{path.name}: {link}: no such place")
    if not pages:
        faults.append(f"{folder} holds no page")
    return sorted(set(faults))


def main() -> int:
    parser = argparse.ArgumentParser(description="Helps Doxygen.")
    parser.add_argument("command", choices=("prepare", "check"))
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.folder)
        return 0
    faults = check(arguments.folder)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
