//! How the parts of one object come on one line or on several: the rules of Node's
//! `util.inspect` with `compact: 3` and `breakLength: 80`.

use crate::text;

/// Columns that a line may take.
pub(super) const BREAK_LENGTH: usize = 80;
/// Nested levels that may stand on one line, and a quarter of the columns of a table.
const COMPACT: usize = 3;
/// Entries from which an array's elements are set in columns.
const MIN_GROUPED: usize = 6;
/// Columns a table has at most.
const MAX_COLUMNS: usize = 15;

/// The parts of one object.
pub(super) struct Body {
    /// What stands before the braces: a function's name, a date, an error's stack.
    pub(super) base: String,
    /// The braces, the class's name in the opening one.
    pub(super) braces: (String, &'static str),
    /// Elements and properties, shown.
    pub(super) entries: Vec<String>,
    /// Whether entries are set in columns.
    pub(super) grouped: bool,
    /// Whether the entries are numbers, which are set flush right.
    pub(super) numeric: bool,
    /// Whether there can be nothing in it but its own keys.
    pub(super) is_leaf: bool,
}

impl Body {
    /// An object between braces that holds more than its own keys.
    pub(super) fn braced(prefix: String) -> Self {
        Self {
            base: String::new(),
            braces: (prefix + "{", "}"),
            entries: Vec::new(),
            grouped: false,
            numeric: false,
            is_leaf: false,
        }
    }

    /// An object that is no more than its own keys.
    pub(super) fn object(prefix: String) -> Self {
        Self { is_leaf: true, ..Self::braced(prefix) }
    }

    /// An object with a text of its own, which it shows alone when it has no keys.
    pub(super) fn based(base: String) -> Self {
        Self { base, ..Self::object(String::new()) }
    }

    /// An array of `length` elements.
    pub(super) fn listing(prefix: String, length: usize) -> Self {
        let braces = (prefix + "[", "]");
        Self { braces, grouped: true, is_leaf: length == 0, ..Self::object(String::new()) }
    }

    /// The text of an object with nothing in it.
    pub(super) fn alone(self) -> String {
        if self.base.is_empty() { self.braces.0 + self.braces.1 } else { self.base }
    }

    /// Marks the object as what `[Circular *index]` means.
    pub(super) fn mark_reference(&mut self, index: usize) {
        let mark = format!("<ref *{index}>");
        self.base = if self.base.is_empty() { mark } else { format!("{mark} {}", self.base) };
    }

    /// The whole text; `nested` is how many levels of objects it has inside.
    pub(super) fn layout(mut self, indentation: usize, nested: usize) -> String {
        let (open, close) = std::mem::take(&mut self.braces);
        let before = self.entries.len();
        if self.grouped && before > MIN_GROUPED {
            self.group(indentation);
        }
        let base = if self.base.is_empty() { String::new() } else { format!("{} ", self.base) };
        if nested < COMPACT && before == self.entries.len() {
            let start = before + indentation + units(&open) + units(&self.base) + 10;
            let content: usize = self.entries.iter().map(|entry| units(entry)).sum();
            let one_line = content + before + start <= BREAK_LENGTH
                && !self.base.contains('\n')
                && !self.entries.iter().any(|entry| entry.contains('\n'));
            if one_line {
                return format!("{base}{open} {} {close}", self.entries.join(", "));
            }
        }
        let indent = format!("\n{}", " ".repeat(indentation));
        let entries = self.entries.join(&format!(",{indent}  "));
        format!("{base}{open}{indent}  {entries}{indent}{close}")
    }

    /// Sets the entries of a long array in columns. The one behind the last element shown, which
    /// says how many are left out, stays by itself.
    fn group(&mut self, indentation: usize) {
        let entries = self.entries.len();
        let rest = if entries > super::MAX_ITEMS { self.entries.pop() } else { None };
        let widths: Vec<usize> = self.entries.iter().map(|entry| text::columns(entry)).collect();
        if let Some(columns) = columns(&widths, indentation, entries) {
            self.entries = table(&self.entries, &widths, columns, self.numeric);
        }
        self.entries.extend(rest);
    }
}

/// How many columns the elements are set in, `None` for one.
fn columns(widths: &[usize], indentation: usize, entries: usize) -> Option<usize> {
    const SEPARATOR: usize = 2;
    const APPROXIMATE_CHARACTER_HEIGHT: f64 = 2.5;
    let longest = widths.iter().copied().max().unwrap_or(0);
    let total: usize = widths.iter().map(|width| width + SEPARATOR).sum();
    let actual_max = longest + SEPARATOR;
    let worth_it = actual_max * 3 + indentation < BREAK_LENGTH
        && (total as f64 / actual_max as f64 > 5.0 || longest <= 6);
    if !worth_it {
        return None;
    }
    let average_bias = (actual_max as f64 - total as f64 / entries as f64).sqrt();
    let biased_max = (actual_max as f64 - 3.0 - average_bias).max(1.0);
    let square =
        (APPROXIMATE_CHARACTER_HEIGHT * biased_max * widths.len() as f64).sqrt() / biased_max;
    let columns = (square.round() as usize)
        .min((BREAK_LENGTH - indentation) / actual_max)
        .min(COMPACT * 4)
        .min(MAX_COLUMNS);
    (columns > 1).then_some(columns)
}

/// One text a row.
fn table(entries: &[String], widths: &[usize], columns: usize, flush_right: bool) -> Vec<String> {
    let column_widths: Vec<usize> = (0..columns)
        .map(|column| widths.iter().skip(column).step_by(columns).copied().max().unwrap_or(0))
        .collect();
    let row = |(entries, widths): (&[String], &[usize])| {
        let mut out = String::new();
        for (column, (entry, width)) in entries.iter().zip(widths).enumerate() {
            let last = column + 1 == entries.len();
            let padding = " ".repeat(column_widths[column].saturating_sub(*width));
            match (flush_right, last) {
                (true, true) => out.extend([padding.as_str(), entry]),
                (true, false) => out.extend([padding.as_str(), entry, ", "]),
                (false, true) => out.push_str(entry),
                (false, false) => out.extend([entry, ", ", padding.as_str()]),
            }
        }
        out
    };
    entries.chunks(columns).zip(widths.chunks(columns)).map(row).collect()
}

/// The length by which lines are measured: in UTF-16 units, as Node's.
fn units(text: &str) -> usize {
    text::utf16_len(text.as_bytes())
}
