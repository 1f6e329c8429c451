#pragma once

#include <type_traits>
#include <utility>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/error_code.hpp>

#include "weir/adapters/any_asio.hpp"

namespace weir::detail {

/// What is needed of Boost.Asio.
struct boost_asio {
  using io_context = ::boost::asio::io_context;
  using descriptor = ::boost::asio::posix::stream_descriptor;
  using error_code = boost::system::error_code;

  template <class Handler>
  static auto allocator_of(const Handler& handler) noexcept {
    return ::boost::asio::get_associated_allocator(handler);
  }
  template <class Handler>
  static auto slot_of(const Handler& handler) noexcept {
    return ::boost::asio::get_associated_cancellation_slot(handler);
  }
  template <class Handler, class Executor>
  static auto executor_of(const Handler& handler, const Executor& otherwise) noexcept {
    return ::boost::asio::get_associated_executor(handler, otherwise);
  }
  template <class Executor>
  static auto work_guard(const Executor& executor) {
    return ::boost::asio::make_work_guard(executor);
  }
  template <class Executor, class Function>
  static void defer(const Executor& executor, Function function) {
    ::boost::asio::defer(executor, std::move(function));
  }
  template <class Token, class Signature, class Initiation, class... Arguments>
  static auto initiate(Initiation initiation, std::remove_reference_t<Token>& token,
                       Arguments&&... arguments) {
    return ::boost::asio::async_initiate<Token, Signature>(std::move(initiation), token,
                                                           std::forward<Arguments>(arguments)...);
  }
};

}  // namespace weir::detail

namespace weir::adapters {

/// With Boost 1.77 or later (on Debian 12: libboost1.81-dev).
using boost_asio_attachment = basic_asio_attachment<detail::boost_asio>;

}  // namespace weir::adapters
