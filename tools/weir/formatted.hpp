#pragma once

#include <string>

namespace weir::tools {

/// What printf(3) would print, of up to 255 bytes.
[[gnu::format(printf, 1, 2)]] std::string formatted(const char* format, ...);

/// 1536 as "1.5 KiB".
std::string human_bytes(double bytes);

}  // namespace weir::tools
