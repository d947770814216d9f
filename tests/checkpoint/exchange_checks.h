#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace stepsize::test {

/// What was found to differ so far; expect() prints each.
int differences();
void expect(bool holds, const std::string& what);

/// As far as two versions of LibTorch may round the last bit of a function in
/// another way.
void expect_close(
    const at::Tensor& own, const at::Tensor& other, const std::string& what);
void expect_close(double own, double other, const std::string& what);

/// All that the first file holds, at least `fewest` values, the second has bit
/// for bit, and no more than later versions add.
void compare_files(
    const std::string& path, const std::string& again, int64_t fewest);

/// The path of a file that this process may write.
std::string temporary_file(const std::string& name);

}  // namespace stepsize::test
