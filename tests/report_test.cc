#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "report/page.hpp"
#include "report/suite.hpp"
#include "support/support.hpp"

namespace weir::report {
namespace {

comparison some_comparison() {
  return {.regime = "4 KiB, page cache",
          .ours = "weir uring",
          .peer = "raw ring",
          .unit = "ns an operation",
          .our_median = 260,
          .peer_median = 250,
          .ratio = 1.04,
          .spread = {.least = 0.99, .most = 1.1},
          .pairs = 15};
}

suite some_suite() {
  const comparison alone{.regime = "memory", .ours = "weir", .unit = "bytes", .our_median = 64};
  return {.machine = {{"kernel", "Linux 6.18"}},
          .questions = {{.program = "warm",
                         .asks = "What does a read cost?",
                         .answers = {some_comparison(), alone},
                         .remarks = {"libuv was not there."}}}};
}

std::size_t occurrences(std::string_view of, std::string_view in) {
  std::size_t count = 0;
  for (auto at = in.find(of); at != in.npos; at = in.find(of, at + of.size())) ++count;
  return count;
}

/// The first tag that is not closed by its own kind, or "".
std::string first_unbalanced(std::string_view html) {
  std::vector<std::string> open;
  for (auto at = html.find('<'); at != html.npos; at = html.find('<', at + 1)) {
    const std::string_view tag = html.substr(at + 1, html.find('>', at) - at - 1);
    std::string name(tag.substr(0, tag.find_first_of(" \n")));
    if (name == "!DOCTYPE" || name == "meta" || tag.ends_with('/')) continue;
    if (!name.starts_with('/')) {
      open.push_back(std::move(name));
    } else if (open.empty() || open.back() != name.substr(1)) {
      return name;
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back();
}

TEST(report_digits, there_are_three_or_more_and_they_are_grouped) {
  EXPECT_EQ(digits_of(0), "0.000");
  EXPECT_EQ(digits_of(0.93449), "0.934");
  EXPECT_EQ(digits_of(0.99951), "1.00");
  EXPECT_EQ(digits_of(9.994), "9.99");
  EXPECT_EQ(digits_of(9.996), "10.0");
  EXPECT_EQ(digits_of(99.96), "100");
  EXPECT_EQ(digits_of(-12.34), "-12.3");
  EXPECT_EQ(digits_of(123), "123");
  EXPECT_EQ(digits_of(1'234), "1 234");
  EXPECT_EQ(digits_of(-123'456), "-123 456");
  EXPECT_EQ(digits_of(1'234'567), "1 234 567");
}

TEST(report_digits, a_count_has_all_its_digits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'000), "1 000");
  EXPECT_EQ(grouped(1'000'000), "1 000 000");
}

TEST(report_digits, what_is_no_number_is_said_not_to_be_known) {
  EXPECT_EQ(digits_of(std::numeric_limits<double>::quiet_NaN()), "?");
  EXPECT_EQ(digits_of(std::numeric_limits<double>::infinity()), "?");
}

TEST(report_bar, eighths_of_a_character_count) {
  EXPECT_EQ(bar_of(0, 20), "");
  EXPECT_EQ(bar_of(-1, 20), "");
  EXPECT_EQ(bar_of(0.1, 20), "\u2588");
  EXPECT_EQ(bar_of(0.1125, 20), "\u2588\u258f");
  EXPECT_EQ(bar_of(0.2, 20), "\u2588\u2588");
  EXPECT_EQ(bar_of(1000, 2), "\u2588\u2588");
}

TEST(report_text, a_line_names_both_and_gives_the_ratio_with_its_spread) {
  const std::string line = line_of(some_comparison());
  for (const char* part : {"weir uring / raw ring", " 260 ", " 250 ", "1.04 (0.990 to 1.10)"}) {
    EXPECT_NE(line.find(part), line.npos) << part << " in " << line;
  }
}

TEST(report_text, each_regime_has_one_heading) {
  question asked = some_suite().questions.front();
  asked.answers.insert(asked.answers.begin(), some_comparison());
  const std::string text = text_of(asked);
  EXPECT_EQ(occurrences("4 KiB, page cache", text), 1);
  EXPECT_EQ(occurrences("weir uring / raw ring", text), 2);
  EXPECT_NE(text.find("libuv was not there."), text.npos);
}

TEST(report_json, what_is_written_can_be_read_again) {
  const auto read = suite_of(json_of(some_suite()));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, some_suite());
}

TEST(report_json, what_is_not_a_report_is_an_error_with_a_reason) {
  for (const char* text : {"", "[]", "{}", R"({"format": 1})", R"({"format": 2})",
                           R"({"format": 1, "machine": [], "questions": [7]})"}) {
    const auto read = suite_of(text);
    ASSERT_FALSE(read) << text;
    EXPECT_FALSE(read.error().empty()) << text;
  }
}

TEST(report_json, bytes_that_are_no_text_do_not_break_it) {
  suite named = some_suite();
  named.machine.front().text = "\xff";
  const auto read = suite_of(json_of(named));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->machine.front().text, "\ufffd");
}

TEST(report_page, comparisons_of_one_regime_share_a_chart) {
  suite measured = some_suite();
  auto& answers = measured.questions.front().answers;
  answers.insert(answers.begin(), some_comparison());
  const page made = page_of(measured);
  ASSERT_EQ(made.sections.size(), 1);
  const auto& charts = made.sections.front().charts;
  ASSERT_EQ(charts.size(), 2);
  EXPECT_EQ(charts[0].groups.size(), 2);
  EXPECT_EQ(charts[0].groups[0].size(), 2);
  ASSERT_EQ(charts[1].groups.size(), 1);
  EXPECT_EQ(charts[1].groups[0].size(), 1) << "nobody to compare with";
}

TEST(report_html, the_page_needs_nothing_but_itself) {
  const std::string html = html_of(page_of(some_suite()));
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url(", "<script"}) {
    EXPECT_EQ(html.find(outside), html.npos) << outside;
  }
  EXPECT_NE(html.find("prefers-color-scheme: dark"), html.npos);
}

TEST(report_html, every_tag_is_closed) {
  EXPECT_EQ(first_unbalanced(html_of(page_of(some_suite()))), "");
  EXPECT_EQ(first_unbalanced(html_of(page{})), "");
}

TEST(report_html, the_longest_bar_fills_the_width_and_the_others_are_in_proportion) {
  const page drawn{.sections = {{.charts = {{.groups = {{{.value = 4}, {.value = 1}}}}}}}};
  const std::string html = html_of(drawn);
  EXPECT_EQ(occurrences("<rect ", html), 2);
  EXPECT_NE(html.find("width=\"360.0\""), html.npos);
  EXPECT_NE(html.find("width=\"90.0\""), html.npos);
}

TEST(report_html, a_whisker_that_would_leave_the_chart_ends_at_its_edge) {
  const bar wild{.value = 1, .spread = range{.least = 0.5, .most = 1000}};
  const std::string html = html_of(page{.sections = {{.charts = {{.groups = {{wild}}}}}}});
  EXPECT_NE(html.find("x2=\"610.0\""), html.npos) << html;
}

TEST(report_html, nothing_measured_draws_nothing_that_is_not_a_number) {
  const std::string html = html_of(page{.sections = {{.charts = {{.groups = {{{.value = 0}}}}}}}});
  EXPECT_EQ(html.find("nan"), html.npos);
  EXPECT_NE(html.find("width=\"0.0\""), html.npos);
}

TEST(report_html, text_cannot_become_markup) {
  const std::string evil = "<b onclick=\"x\">&\n</b>";
  const page shown{.title = evil,
                   .facts = {{evil, evil}},
                   .sections = {{.title = evil,
                                 .paragraphs = {evil},
                                 .charts = {{.title = evil,
                                             .unit = evil,
                                             .groups = {{{.label = evil, .note = evil}}}}}}}};
  const std::string html = html_of(shown);
  EXPECT_EQ(html.find("<b"), html.find("<body"));
  EXPECT_EQ(html.find("onclick=\""), html.npos);
  EXPECT_EQ(first_unbalanced(html), "");
}

TEST(report_html, a_label_without_room_is_cut_between_characters) {
  std::string label;
  for (int i = 0; i < 41; ++i) label += "\u00e4";
  const std::string html =
      html_of(page{.sections = {{.charts = {{.groups = {{{.label = label}}}}}}}});
  EXPECT_EQ(occurrences(label.substr(2) + "\u2026</text>", html), 1);
}

}  // namespace
}  // namespace weir::report
