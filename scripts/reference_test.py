#!/usr/bin/env python3
"""Shows what reference.py makes of headers and pages, and which faults it finds
in pages written."""

import pathlib
import sys
import tempfile
import textwrap
import unittest
from pathlib import PurePath

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import reference  # noqa: E402


class Headers(unittest.TestCase):
    def filtered(self, text: str) -> str:
        path = PurePath("include/stepsize/optim/x.h")
        return reference.filter_header(path, textwrap.dedent(text))

    def test_an_option_becomes_its_setter_with_the_default(self) -> None:
        text = self.filtered(
            """
            class XOptions {
             public:
              /// Finite. At least 0.
              ///
              /// See Y.
              TORCH_ARG(double, lr) = 1e-3;
              TORCH_ARG(std::vector<int>, many);
            };
            """
        )
        self.assertIn(
            "/// @brief Finite.\\ At least 0.\\ Default: `1e-3`.\n"
            "///\n"
            "/// See Y.\n"
            "public: XOptions& lr(double value); private:\n"
            "public: XOptions& many(std::vector<int> value); private:\n"
            "/// @}\n",
            text,
        )

    def test_an_option_of_two_lines(self) -> None:
        text = self.filtered(
            "class A {\n  TORCH_ARG(F, f) =\n      F::kOne;\n};\n"
        )
        self.assertIn("Default: `F::kOne`.", text)
        self.assertIn("A& f(F value);", text)

    def test_indented_lines_are_a_formula_or_code(self) -> None:
        text = self.filtered(
            """
            /// Computes
            ///
            ///   p = p - lr g
            ///
            ///     step(p);
            ///
            /// - a list
            ///   goes on
            void f();
            """
        )
        self.assertIn("/// ```text\n/// p = p - lr g\n", text)
        self.assertIn("/// - a list\n///   goes on\n", text)

    def test_members_are_of_the_room(self) -> None:
        text = self.filtered(
            "\nnamespace stepsize {\nint x;\n}  // namespace stepsize\n"
        )
        self.assertIn("{\n/// @addtogroup optim\n/// @{\nint x;", text)
        self.assertIn("/// @}\n}\n", text)


class Pages(unittest.TestCase):
    def filtered(self, text: str, page: str = "docs/a.md") -> str:
        return reference.filter_page(PurePath(page), text)

    def test_headings_get_names(self) -> None:
        text = self.filtered("# A b\n\n## C, d\n\n## C, d\n", "README.md")
        self.assertEqual(
            text,
            "# A b {#readme}\n\n## C, d {#readme-c-d}\n\n"
            "## C, d {#readme-c-d-1}\n",
        )

    def test_links_lead_to_names(self) -> None:
        for link, wanted in (
            ("[x y](b.md#c-d)", "[x y](@ref docs-b-c-d)"),
            ("[x\ny](#c)", "[x y](@ref docs-a-c)"),
            ("[`x`](../README.md)", "[x](@ref readme)"),
            ("![x](pictures/y.svg)", "![x](y.svg)"),
            ("[x](https://a.b/c.md)", "[x](https://a.b/c.md)"),
            ("[x](../include/a/b.h)", '@ref a/b.h "x"'),
            ("[x](../examples/a/b.cpp)", '@ref a/b.cpp "x"'),
            (
                "[x](../examples/a/b.h)",
                '<a href="files/examples/a/b.h.txt">x</a>',
            ),
            ("[x](../LICENSE)", '<a href="files/LICENSE.txt">x</a>'),
            ("`[x](b.md)`", "`[x](b.md)`"),
            ("`ScheduleLR`", '@ref stepsize::ScheduleLR "ScheduleLR"'),
            ("[`ScheduleLR` x](#c)", "[ScheduleLR x](@ref docs-a-c)"),
            ("`x`", "`x`"),
        ):
            with self.subTest(link):
                self.assertEqual(self.filtered(link), wanted)

    def test_bold_text_may_begin_with_code(self) -> None:
        self.assertEqual(
            self.filtered("**`x` and\ny** is `**` or *z*"),
            "<b>`x` and\ny</b> is `**` or *z*",
        )

    def test_code_stays(self) -> None:
        code = "```cpp\n# no heading\n[](int)(b.md)\n```\n"
        self.assertEqual(self.filtered(code), code)


class Written(unittest.TestCase):
    def faults(self, **pages: str) -> str:
        with tempfile.TemporaryDirectory() as name:
            for page, text in pages.items():
                path = pathlib.Path(name, page + ".html")
                path.write_text(text, encoding="utf-8")
            return "\n".join(reference.check(pathlib.Path(name)))

    def test_good_links(self) -> None:
        self.assertEqual(
            self.faults(
                a='<a href="b.html#x">b</a><a href="https://c/">c</a>',
                b='<p id="x"><img src="a.html"/></p>',
            ),
            "",
        )

    def test_bad_links(self) -> None:
        self.assertIn("leads nowhere", self.faults(a='<a href="b.html"/>'))
        self.assertIn("leads nowhere", self.faults(a='<img src="b.svg"/>'))
        self.assertIn("no such place", self.faults(a='<a href="#x"/>'))
        self.assertIn("holds no page", self.faults())


if __name__ == "__main__":
    unittest.main()
