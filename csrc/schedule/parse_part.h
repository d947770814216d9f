#pragma once

#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <string>
#include <vector>

#include "csrc/schedule/lexer.h"

namespace stepsize::detail {

/// The schedule that some tokens of a text are, the last of kind kEnd: for
/// texts of which schedules are a part. It begins at time `elapsed` of the run,
/// a NaN where that is not known. Errors show the whole text.
Schedule parse_part(
    const std::string& text,
    const ParseContext& context,
    std::vector<Token> tokens,
    double elapsed);

/// Throws std::invalid_argument where it is none.
void check_context(const ParseContext& context);

}  // namespace stepsize::detail
