#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "differential/contestants.hpp"
#include "differential/script.hpp"
#include "weir/io_context.hpp"

namespace weir::testing::differential {

/// One driver's copy of the world: a tree of files, of which some are open. Everything is done by
/// operations, so that it does not matter whose files they are; but for pipes.
class world {
 public:
  /// Makes the directory `root`, whose parent exists, and the tree below it. The context is nobody
  /// else's meanwhile.
  world(io_context& context, const contestant& whose, std::string root);
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  /// Closes what is open; the tree stays.
  ~world();

  /// Everything that can be seen of a step: for each operation a line with its answer, and what was
  /// read.
  std::vector<std::string> carry_out(const step& together);

  /// What has become of the files that are open, and of the tree: a line for each, seen through
  /// `observer`.
  std::vector<std::string> state(io_context& observer) const;

 private:
  struct workspace;
  struct open_slot {
    int fd = -1;
    bool direct = false;
    bool appends = false;
  };

  std::string carry_out_alone(const planned& what);
  std::vector<std::string> carry_out_together(const std::vector<planned>& operations);
  std::string carry_out_cancelled(const planned& what);
  std::string wait_in_vain();
  std::string splice_out(const planned& what);
  std::string splice_in(const planned& what);
  std::string drained();

  planned made_lawful(planned what) const;
  planned within_file(planned what, std::uint64_t size) const;
  request prepare(const planned& what, workspace& in) const;
  void prepare_transfer(const planned& what, workspace& in, request& made) const;
  std::string settle(const planned& what, std::int32_t answer, const workspace& in);
  std::int32_t ask(const request& what) const;
  std::string listing(const planned& what);
  void replace(std::size_t slot, const open_slot& by);

  io_context& context_;
  const bool kernel_files_;
  int root_ = -1;
  std::array<open_slot, slots> open_{};
  std::array<int, 2> pipe_{-1, -1};
};

/// Carries the script out with `tested` and with `sync`, in a tree for each beneath `directory`,
/// and removes what is left: the first difference in words, or "".
std::string compare(const std::vector<step>& script, const contestant& who, io_context& tested,
                    io_context& sync, const std::string& directory);

}  // namespace weir::testing::differential
