#include "daemon_life.hpp"

#include <unistd.h>

#include <cstdio>
#include <vector>

#include "daemon/life/activation.hpp"
#include "daemon/life/hardening.hpp"
#include "daemon/life/system_calls.hpp"

namespace weir::tools {

using life::outcome;

void add_life_options(CLI::App& serve, life_options& options) {
  serve.add_flag("--daemonize", options.detach,
                 "Leave the terminal, and return when clients may come");
  auto* const user =
      serve.add_option("--user", options.user, "Whose rights it has from then on")->type_name("U");
  serve.add_option("--group", options.group, "The same; the user's own group by default")
      ->type_name("G")
      ->needs(user);
  serve.add_flag("--chroot", options.change_root, "See nothing but the root that is served");
  serve.add_flag("--unconfined", options.unconfined,
                 "Keep all system calls, and let debuggers in: to look for a mistake");
  serve
      .add_option("--ready-fd", options.ready_fd,
                  "A descriptor that hears an int: 0 when clients may come, else an errno")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
}

int daemon_life::failed(const std::string& sentence, int error) noexcept {
  std::fprintf(stderr, "weir serve: %s\n", sentence.c_str());
  starter_.failed(error);
  return 1;
}

std::optional<int> daemon_life::stop_if(const outcome<>& step) {
  if (step) return std::nullopt;
  return failed(step.error().sentence, step.error().error);
}

// The service manager names its process before it is left behind by a fork.
std::optional<int> daemon_life::begin(int root) {
  if (options_.ready_fd >= 0) {
    if (auto over = stop_if(starter_.tell_through(options_.ready_fd))) return over;
  }
  if (!options_.user.empty()) {
    const auto found = life::find_identity(options_.user, options_.group);
    if (!found) return failed(found.error().sentence, found.error().error);
    identity_ = *found;
  }
  const auto passed = life::activated_socket();
  if (!passed) return failed(passed.error().sentence, passed.error().error);
  socket_ = *passed;
  if (options_.detach) {
    std::vector<int> kept;
    if (root >= 0) kept.push_back(root);
    if (socket_) kept.push_back(*socket_);
    if (auto over = stop_if(starter_.detach(kept))) return over;
  }
  return stop_if(manager_.open());
}

// The limit and the root directory while there are rights to change them. The socket stays its
// clients', who may be none but this user.
std::optional<int> daemon_life::settle(int root, const std::string& path) {
  if (auto over = stop_if(life::raise_descriptor_limit())) return over;
  if (identity_ && !path.empty() &&
      ::lchown(path.c_str(), identity_->user, identity_->group) != 0) {
    return stop_if(life::failed("'" + path + "' cannot be given to the user"));
  }
  if (options_.change_root) {
    if (auto over = stop_if(life::change_root(root))) return over;
  }
  return identity_ ? stop_if(life::become(*identity_)) : std::nullopt;
}

std::optional<int> daemon_life::confine() {
  if (auto over = stop_if(life::clear_environment())) return over;
  if (options_.unconfined) return std::nullopt;
  if (auto over = stop_if(life::harden())) return over;
  return stop_if(life::restrict_system_calls());
}

std::optional<int> daemon_life::ready() {
  if (auto over = stop_if(starter_.ready())) return over;
  manager_.tell("READY=1");
  return std::nullopt;
}

}  // namespace weir::tools
