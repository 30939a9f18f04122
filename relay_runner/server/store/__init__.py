"""Where a relay keeps everything: one narrow port (`base`), and SQLite behind it."""
