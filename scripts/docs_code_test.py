#!/usr/bin/env python3
"""Shows that docs_code.py leaves no block out and finds what is amiss."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import docs_code  # noqa: E402

FRAMES = "struct LoopFrame {\n};\nstruct LrSchedulerFrame : LoopFrame {\n};\n"

PAGE = """# Schedulers

```cpp
#include <stepsize/one.h>

one();
```

<!-- fragment -->
```cpp
two();
```

<!-- fragment: Loop -->
```cpp
three();
```

```cpp
// A function.
void four() {}
```

```text
five
```
"""


class DocsCode(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write(docs_code.FRAMES, FRAMES)
        self.write("docs/lr_scheduler.md", PAGE)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def made(self) -> str:
        faults = []
        text = docs_code.make(self.root, faults)
        self.assertEqual(faults, [])
        return text

    def faults_of(self, page: str) -> str:
        self.write("docs/lr_scheduler.md", page)
        faults = []
        docs_code.make(self.root, faults)
        return "\n".join(faults)

    def test_takes_every_block_in_its_frame(self) -> None:
        text = self.made()
        self.assertIn('#line 4 "docs/lr_scheduler.md"\n\n\none();', text)
        self.assertLess(
            text.index("#include <stepsize/one.h>"), text.index("one();")
        )
        own, _, rest = text.partition("three();")
        self.assertIn("namespace whole::block_0 {\nstruct Block {\n", own)
        self.assertIn("struct Block : LrSchedulerFrame {\n", own)
        self.assertIn("struct Block : LoopFrame {\n", own)
        self.assertIn("namespace whole::block_3 {\n#line", rest)
        self.assertNotIn("five", text)

    def test_takes_a_new_page_and_a_new_block(self) -> None:
        self.write("docs/new.md", "```cpp\nnew_code();\n```\n")
        self.assertIn("new_code();", self.made())
        self.write("docs/lr_scheduler.md", PAGE + "\n```cpp\nsix();\n```\n")
        self.assertIn("six();", self.made())

    def test_uses_the_namespace_where_the_page_says_so(self) -> None:
        self.assertNotIn("using namespace", self.made())
        self.write("docs/lr_scheduler.md", docs_code.USING + "\n\n" + PAGE)
        self.assertEqual(self.made().count("using namespace stepsize;"), 4)

    def test_takes_the_loop_for_a_page_without_a_frame(self) -> None:
        self.write("docs/x.md", "<!-- fragment -->\n```cpp\na();\n```\n")
        self.assertEqual(self.made().count("struct Block : LoopFrame"), 2)

    def test_refuses_blocks_that_would_be_passed_over(self) -> None:
        wanted = "begins with ```cpp"
        self.assertIn(wanted, self.faults_of("```c++\na();\n```\n"))
        self.assertIn(wanted, self.faults_of("- x\n\n  ```cpp\n  a();\n  ```\n"))
        self.assertIn(wanted, self.faults_of("~~~cpp\na();\n~~~\n"))
        self.assertIn(wanted, self.faults_of("```cpp whole\na();\n```\n"))

    def test_refuses_a_frame_that_is_not_there(self) -> None:
        page = "<!-- fragment: Lost -->\n```cpp\na();\n```\n"
        self.assertIn("has no LostFrame", self.faults_of(page))

    def test_refuses_a_mark_without_a_block(self) -> None:
        page = "<!-- fragment -->\n\n```cpp\na();\n```\n"
        self.assertIn("in the next line", self.faults_of(page))

    def test_refuses_a_block_without_an_end(self) -> None:
        self.assertIn("has no end", self.faults_of("```cpp\na();\n"))

    def test_a_program_goes_to_a_file_of_its_own(self) -> None:
        self.write(
            "docs/own.md",
            "<!-- program: six -->\n```cpp\nint main() { return 6; }\n```\n",
        )
        self.assertNotIn("return 6", self.made())
        files = [str(self.root / name) for name in ("all.cpp", "six.cpp")]
        self.assertEqual(
            docs_code.main(["docs_code.py", str(self.root)] + files), 0
        )
        text = pathlib.Path(files[1]).read_text(encoding="utf-8")
        self.assertEqual(
            text, '#line 3 "docs/own.md"\nint main() { return 6; }\n'
        )

    def test_a_program_that_is_not_compiled_is_a_fault(self) -> None:
        self.write(
            "docs/own.md",
            "<!-- program: six -->\n```cpp\nint main() {}\n```\n",
        )
        output = str(self.root / "all.cpp")
        self.assertEqual(
            docs_code.main(["docs_code.py", str(self.root), output]), 1
        )


if __name__ == "__main__":
    unittest.main()
