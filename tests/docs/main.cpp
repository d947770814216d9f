#include <gtest/gtest.h>

#include <iostream>

#include "tests/docs/page.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::cerr << "usage: docs_test PROJECT_FOLDER\n";
    return 2;
  }
  stepsize::project_folder() = argv[1];
  return RUN_ALL_TESTS();
}
