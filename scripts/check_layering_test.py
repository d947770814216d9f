#!/usr/bin/env python3
"""Tests of check_layering.py: a tree that keeps to the rules passes, and each
rule broken is found, in the file and the line that break it."""

import pathlib
import tempfile
import unittest
from typing import Dict, List

import check_layering

GOOD: Dict[str, str] = {
    "include/stepsize/stepsize.h": "#pragma once\n"
    "#include <stepsize/lr_scheduler/step_lr.h>\n"
    "#include <stepsize/schedule/decay.h>\n",
    "include/stepsize/schedule/decay.h": "#pragma once\n#include <vector>\n",
    "include/stepsize/lr_scheduler/step_lr.h": "#pragma once\n"
    "#include <stepsize/schedule/decay.h>\n"
    "#include <torch/optim/schedulers/lr_scheduler.h>\n",
    "csrc/schedule/CMakeLists.txt": "set(headers decay.h)\nset(s decay.cpp)\n",
    "csrc/schedule/decay.cpp": "#include <stepsize/schedule/decay.h>\n"
    '#include "csrc/schedule/check.h"\n'
    "#include <cmath>\n",
    "csrc/schedule/check.h": "#pragma once\n#include <string>\n",
    "csrc/lr_scheduler/CMakeLists.txt": "set(h step_lr.h)\nset(s step_lr.cpp)",
    "csrc/lr_scheduler/step_lr.cpp": "#include <ATen/ATen.h>\n",
    "tests/schedule/CMakeLists.txt": "stepsize_add_test(schedule d_test.cpp)\n",
    "tests/schedule/d_test.cpp": "#include <stepsize/schedule/decay.h>\n"
    "#include <gtest/gtest.h>\n"
    '#include "csrc/schedule/check.h"\n'
    '#include "tests/support/near.h"\n',
    "tests/support/near.h": "#pragma once\n#include <cmath>\n",
    "examples/CMakeLists.txt": "add_executable(quickstart quickstart.cpp)\n",
    "examples/quickstart.cpp": "#include <stepsize/stepsize.h>\n"
    "#include <torch/torch.h>\n",
}


def violations_of(changes: Dict[str, str]) -> List[str]:
    """The violations of the good tree with some files added or replaced."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {**GOOD, **changes}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return check_layering.check(root)


class CheckLayeringTest(unittest.TestCase):
    def assert_only(self, changes: Dict[str, str], start: str, rule: str):
        """Exactly one violation, which starts and reads as given."""
        violations = violations_of(changes)
        self.assertEqual(len(violations), 1, violations)
        self.assertTrue(violations[0].startswith(start), violations[0])
        self.assertIn(rule, violations[0])

    def test_an_optimizer_needs_a_row_and_a_test(self):
        optimizer = {
            "include/stepsize/optim/lion.h": "#pragma once\n"
            "class Lion : public IndexedOptimizer {\n",
            "include/stepsize/stepsize.h": GOOD["include/stepsize/stepsize.h"]
            + "#include <stepsize/optim/lion.h>\n",
            "csrc/optim/CMakeLists.txt": "set(h lion.h)\n",
            "docs/optimizers.md": "| [`Lion`](#lion) | signs |\n",
            "tests/optim/CMakeLists.txt": "add(lion_test.cpp)\n",
            "tests/optim/lion_test.cpp": "Lion lion;\n",
        }
        self.assertEqual(violations_of(optimizer), [])
        self.assert_only(
            {**optimizer, "docs/optimizers.md": ""},
            "include/stepsize/optim/lion.h:1: ",
            "docs/optimizers.md has no row of Lion",
        )
        self.assert_only(
            {**optimizer, "tests/optim/lion_test.cpp": "Lions lions;\n"},
            "include/stepsize/optim/lion.h:1: ",
            "no tests/optim/*_test.cpp has Lion",
        )

    def test_good_tree_passes(self):
        self.assertEqual(violations_of({}), [])

    def test_schedule_may_not_include_torch(self):
        for header in ("torch/types.h", "ATen/ATen.h", "c10/util/Optional.h"):
            self.assert_only(
                {"csrc/schedule/decay.cpp": f"\n#include <{header}>\n"},
                "csrc/schedule/decay.cpp:2:",
                "may not include LibTorch",
            )

    def test_schedule_may_not_include_lr_scheduler(self):
        self.assert_only(
            {
                "include/stepsize/schedule/decay.h": "#pragma once\n"
                "#include <stepsize/lr_scheduler/step_lr.h>\n"
            },
            "include/stepsize/schedule/decay.h:2:",
            "schedule may not include lr_scheduler",
        )

    def test_a_room_keeps_its_private_headers(self):
        self.assert_only(
            {
                "csrc/tune/CMakeLists.txt": "set(s range_test.cpp)\n",
                "csrc/tune/range_test.cpp":
                '#include "csrc/schedule/check.h"\n',
            },
            "csrc/tune/range_test.cpp:1:",
            "private to the room schedule",
        )

    def test_checkpoint_takes_private_headers_of_optim_and_system_calls(self):
        tree = {
            "csrc/checkpoint/CMakeLists.txt": "set(s save.cpp)\n",
            "csrc/checkpoint/save.cpp": "#include <zlib.h>\n"
            '#include "csrc/optim/state.h"\n',
            "csrc/optim/state.h": "#pragma once\n",
            "tests/checkpoint/CMakeLists.txt": "set(s save_test.cpp)\n",
            "tests/checkpoint/save_test.cpp": "#include "
            "<stepsize/lr_scheduler/step_lr.h>\n",
        }
        self.assertEqual(violations_of(tree), [])
        tree["csrc/checkpoint/save.cpp"] = "#include <curl.h>\n"
        self.assert_only(
            tree,
            "csrc/checkpoint/save.cpp:1:",
            "the room checkpoint may not include <curl.h>",
        )
        tree["csrc/checkpoint/save.cpp"] = (
            "#include <stepsize/lr_scheduler/step_lr.h>\n"
        )
        self.assert_only(
            tree,
            "csrc/checkpoint/save.cpp:1:",
            "the room checkpoint may not include lr_scheduler",
        )

    def test_schedule_may_not_include_another_library(self):
        self.assert_only(
            {"csrc/schedule/decay.cpp": "#include <fmt/format.h>\n"},
            "csrc/schedule/decay.cpp:1:",
            "may not include <fmt/format.h>",
        )

    def test_umbrellas_are_refused(self):
        for header in ("torch/torch.h", "torch/optim.h", "stepsize/stepsize.h"):
            self.assert_only(
                {"csrc/lr_scheduler/step_lr.cpp": f"#include <{header}>\n"},
                "csrc/lr_scheduler/step_lr.cpp:1:",
                "is an umbrella",
            )

    def test_public_header_takes_little_of_torch(self):
        self.assert_only(
            {
                "include/stepsize/lr_scheduler/step_lr.h": "#pragma once\n"
                "#include <torch/types.h>\n"
            },
            "include/stepsize/lr_scheduler/step_lr.h:2:",
            "may not include <torch/types.h>",
        )

    def test_public_header_may_not_include_a_private_one(self):
        self.assert_only(
            {
                "include/stepsize/schedule/decay.h": "#pragma once\n"
                '#include "csrc/schedule/check.h"\n'
            },
            "include/stepsize/schedule/decay.h:2:",
            "may not include the private",
        )

    def test_public_headers_are_included_with_angles(self):
        self.assert_only(
            {
                "csrc/schedule/decay.cpp":
                '#include "stepsize/schedule/decay.h"\n'
            },
            "csrc/schedule/decay.cpp:1:",
            "include it with <>",
        )

    def test_nobody_includes_tests_or_examples(self):
        for name in ("tests/support/near.h", "examples/net.h"):
            self.assert_only(
                {
                    "csrc/lr_scheduler/step_lr.cpp": f'#include "{name}"\n',
                    "examples/net.h": "#pragma once\n",
                },
                "csrc/lr_scheduler/step_lr.cpp:1:",
                "may not include",
            )

    def test_missing_quoted_file_is_found(self):
        self.assert_only(
            {"csrc/schedule/decay.cpp": '#include "gone.h"\n'},
            "csrc/schedule/decay.cpp:1:",
            "is no file of the project",
        )

    def test_missing_pragma_once_is_found(self):
        self.assert_only(
            {"csrc/schedule/check.h": "#include <string>\n"},
            "csrc/schedule/check.h:1:",
            "needs #pragma once",
        )

    def test_unlisted_source_is_found(self):
        self.assert_only(
            {"csrc/schedule/ramp.cpp": "#include <cmath>\n"},
            "csrc/schedule/ramp.cpp:1:",
            "no CMakeLists.txt lists it",
        )

    def test_commented_listing_does_not_count(self):
        self.assert_only(
            {"tests/schedule/CMakeLists.txt": "# d_test.cpp\n"},
            "tests/schedule/d_test.cpp:1:",
            "no CMakeLists.txt lists it",
        )

    def test_header_missing_everywhere_is_found_twice(self):
        violations = violations_of(
            {"include/stepsize/schedule/ramp.h": "#pragma once\n"}
        )
        self.assertEqual(len(violations), 2, violations)
        self.assertIn("stepsize.h does not include it", violations[0])
        self.assertIn("csrc/schedule/CMakeLists.txt", violations[1])

    def test_unknown_room_is_found(self):
        self.assert_only(
            {
                "csrc/attic/CMakeLists.txt": "old.cpp",
                "csrc/attic/old.cpp": "#include <cmath>\n",
            },
            "csrc/attic/old.cpp:1:",
            "no room attic",
        )

    def test_comments_do_not_count(self):
        self.assertEqual(
            violations_of(
                {
                    "csrc/schedule/check.h": "#pragma once\n"
                    "// #include <torch/torch.h>\n"
                    "/* #include\n#include <torch/torch.h>\n*/\n"
                }
            ),
            [],
        )


if __name__ == "__main__":
    unittest.main()
