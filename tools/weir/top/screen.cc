#include "top/screen.hpp"

#define NCURSES_NOMACROS  // functions, so that they can be named by their namespace
#include <curses.h>

#include <algorithm>

namespace weir::tools::top {

screen::screen() {
  ::initscr();
  ::cbreak();
  ::noecho();
  ::curs_set(0);
  ::keypad(stdscr, TRUE);
}

screen::~screen() { ::endwin(); }

void screen::show(const std::vector<std::string>& lines) {
  ::erase();
  const int room = std::max(LINES, 0);
  const int width = std::max(COLS, 0);
  for (int row = 0; row < room && row < static_cast<int>(lines.size()); ++row) {
    const bool heading = row == 0;
    if (heading) ::attron(A_BOLD);
    ::mvaddnstr(row, 0, lines[static_cast<std::size_t>(row)].c_str(), width);
    if (heading) ::attroff(A_BOLD);
  }
  ::refresh();
}

bool screen::wait_for_end(std::chrono::milliseconds limit) {
  ::timeout(static_cast<int>(limit.count()));
  const int key = ::getch();
  return key == 'q' || key == 'Q';
}

}  // namespace weir::tools::top
