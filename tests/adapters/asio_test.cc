#include "weir/adapters/asio.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <asio.hpp>
#include <asio/experimental/deferred.hpp>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

namespace net = ::asio;
using attachment = adapters::asio_attachment;
constexpr auto& deferred = ::asio::experimental::deferred;

}  // namespace
}  // namespace weir::testing

#include "adapters/any_asio.inc"
