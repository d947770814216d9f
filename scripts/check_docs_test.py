#!/usr/bin/env python3
"""Shows that check_docs.py finds each kind of fault, and none in good pages."""

import pathlib
import shlex
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_docs  # noqa: E402

SVG = '<svg width="600"><polyline points="1,2 3.25,4"/></svg>\n'

PAGE = """# Schedules

See [the end](#the-end) and [the read-me](../README.md#a-title).
![A picture](pictures/one.svg)

```cpp
assert(cosine(10)(0) == 1);
```

`cosine 10`

## The end
"""

# Stands in for schedule_gallery.
GALLERY = """#!/bin/sh
if [ "$1" = --list ]; then
  printf 'one\\tcosine 10\\n'
else
  cp {svg} "$1/one.svg"
fi
"""


class CheckDocs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("README.md", "# A title\n\n```sh\nscripts/go.sh\n```\n")
        self.write("scripts/go.sh", "")
        self.write("docs/schedules.md", PAGE)
        self.write("docs/pictures/one.svg", SVG)
        self.write(
            "tests/docs/a_test.cpp", "  EXPECT_TRUE(\n  cosine(10)(0) == 1);\n"
        )
        self.write("fresh.svg", SVG)
        fresh = shlex.quote(str(self.root / "fresh.svg"))
        self.gallery = self.write("gallery", GALLERY.format(svg=fresh))
        self.gallery.chmod(0o755)

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def faults(self) -> str:
        return "\n".join(check_docs.check(self.root, str(self.gallery)))

    def change_page(self, old: str, new: str) -> None:
        self.assertIn(old, PAGE)
        self.write("docs/schedules.md", PAGE.replace(old, new))

    def test_good_pages_have_no_fault(self) -> None:
        self.assertEqual(self.faults(), "")

    def show_differences(self, rows: str) -> str:
        """The faults of a page with these rows, where the script runs two."""
        self.write(
            "scripts/python_differences.py",
            "print('`A`\\tclimbs to 1.5')\nprint('`B`\\traises')\n",
        )
        head = "| Case | Python | Here |\n|---|---|---|\n"
        self.write(
            "docs/lr_scheduler.md",
            "# S\n\n## How we differ from Python\n\n" + head + rows,
        )
        return self.faults()

    def test_compares_the_rows_on_python_with_the_scripts(self) -> None:
        first = "| `A` | climbs to 1.5 | stays |\n"
        second = "| `B` | raises | works |\n"
        self.assertEqual(self.show_differences(first + second), "")
        self.assertIn("'`B`\traises' of", self.show_differences(first))
        wrong = first.replace("1.5", "1.0") + second
        self.assertIn("not run the row '`A`", self.show_differences(wrong))

    def test_finds_a_link_to_a_missing_file(self) -> None:
        self.change_page("../README.md", "../READYOU.md")
        self.assertIn("leads nowhere", self.faults())

    def test_finds_a_link_to_a_missing_heading(self) -> None:
        self.change_page("(#the-end)", "(#an-end)")
        self.assertIn("#an-end: there is no such heading", self.faults())

    def test_finds_code_that_no_test_has(self) -> None:
        self.change_page("== 1);", "== 2);")
        self.assertIn("no test has the code", self.faults())

    def test_finds_a_missing_script(self) -> None:
        (self.root / "scripts/go.sh").unlink()
        self.assertIn("there is no scripts/go.sh", self.faults())

    def test_finds_a_schedule_that_the_page_lacks(self) -> None:
        self.change_page("`cosine 10`", "`cosine 11`")
        self.assertIn("does not have 'cosine 10'", self.faults())

    def test_finds_a_picture_that_the_page_lacks(self) -> None:
        self.change_page("![A picture](pictures/one.svg)", "")
        self.assertIn("does not show one.svg", self.faults())

    def test_finds_an_old_picture(self) -> None:
        for old in ("3.22,4", "3.25,4 5,6"):
            self.write("docs/pictures/one.svg", SVG.replace("3.25,4", old))
            self.assertIn("one.svg is old", self.faults())

    def test_finds_a_missing_picture_and_one_that_no_page_shows(self) -> None:
        kept = self.root / "docs/pictures/one.svg"
        kept.rename(kept.with_name("two.svg"))
        self.assertIn("one.svg is missing", self.faults())
        self.assertIn("two.svg: no page shows it", self.faults())

    def test_forgives_a_difference_in_rounding(self) -> None:
        self.write("docs/pictures/one.svg", SVG.replace("3.25", "3.26"))
        self.assertEqual(self.faults(), "")


if __name__ == "__main__":
    unittest.main()
