#pragma once

namespace weir::detail {

/// How often the history of this process has forked since it loaded weir: a context that remembers
/// another number belongs to the parent. The first call registers a pthread_atfork(3) handler; a
/// child made by vfork(2) or a raw clone(2) is not noticed, and must only exec or exit.
unsigned fork_generation() noexcept;

}  // namespace weir::detail
