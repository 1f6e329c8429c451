#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace weir::tools {

/// What was asked for: set when the command line is parsed, run by main afterwards. Returns the
/// exit status: 0 done, 1 something failed, and a sentence on standard error said what. What it
/// throws becomes such a sentence.
using action = std::function<int()>;

/// A subcommand is a function that adds itself to `app`: its options, its description, and a
/// callback that puts its action into `chosen`. Both outlive the action.
///
///   void add_cp(CLI::App& app, action& chosen) {
///     CLI::App* cp = app.add_subcommand("cp", "Copy files, many at a time");
///     auto asked = std::make_shared<cp_options>();
///     cp->add_flag("--verify", asked->verify, "Read both back and compare");
///     cp->callback([asked, &chosen] { chosen = [asked] { return copy(*asked); }; });
///   }
///
/// To add one: its file, a declaration here, a row in command_line.cc.
using subcommand = void (*)(CLI::App& app, action& chosen);

void add_bench(CLI::App& app, action& chosen);
void add_cp(CLI::App& app, action& chosen);
void add_doctor(CLI::App& app, action& chosen);
void add_get(CLI::App& app, action& chosen);
void add_put(CLI::App& app, action& chosen);
void add_send(CLI::App& app, action& chosen);
void add_serve(CLI::App& app, action& chosen);
void add_top(CLI::App& app, action& chosen);

}  // namespace weir::tools
