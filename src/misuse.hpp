#pragma once

namespace weir::detail {

/// A programmer's error that cannot be survived: says it in one sentence on stderr, and aborts.
[[noreturn]] void misuse(const char* sentence) noexcept;

}  // namespace weir::detail
