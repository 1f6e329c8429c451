#pragma once

#include <array>
#include <string_view>

#include "weir/request.hpp"

namespace weir::detail {

// As they are called in request.hpp.
inline constexpr std::array<std::string_view, opcode_count> opcode_names = {"nop",
                                                                            "read",
                                                                            "write",
                                                                            "readv",
                                                                            "writev",
                                                                            "fsync",
                                                                            "fdatasync",
                                                                            "openat",
                                                                            "close",
                                                                            "statx",
                                                                            "ftruncate",
                                                                            "fallocate",
                                                                            "openat2",
                                                                            "renameat",
                                                                            "unlinkat",
                                                                            "mkdirat",
                                                                            "linkat",
                                                                            "symlinkat",
                                                                            "fadvise",
                                                                            "madvise",
                                                                            "sync_file_range",
                                                                            "splice",
                                                                            "copy_file_range",
                                                                            "clone_range",
                                                                            "getdents",
                                                                            "fgetxattr",
                                                                            "fsetxattr",
                                                                            "poll",
                                                                            "timeout",
                                                                            "register_memory",
                                                                            "forget_memory",
                                                                            "cancel"};
static_assert(!opcode_names.back().empty(), "every opcode has a name");

inline std::string_view name_of(opcode op) noexcept {
  return opcode_names[static_cast<unsigned>(op)];
}

}  // namespace weir::detail
