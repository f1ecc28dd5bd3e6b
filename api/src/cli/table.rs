//! Tables for people.

use super::{escape, printer};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use std::io::IsTerminal;

/// Prints rows under a header, or the one sentence that there are none.
pub(super) fn print<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, none: &str) {
    if rows.is_empty() {
        return printer::stdout_line(none);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    // Wrapped to a terminal's width; a program that reads gets every row on its own line.
    let arrangement = if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    table.set_content_arrangement(arrangement);
    for row in rows {
        table.add_row(row.map(|cell| escape::line(&cell)));
    }
    printer::stdout_line(&table.trim_fmt());
}

/// Prints what something is, a line for each property.
pub(super) fn properties(properties: &[(&str, String)]) {
    for (name, value) in properties {
        printer::stdout_line(&format!("{name}: {}", escape::line(value)));
    }
}
