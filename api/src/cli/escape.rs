//! Text of strangers, made fit for a terminal: what a script, a template or a daemon chose must not
//! move the cursor, change colours, or begin a line of its own.

/// One line: every control character is written as an escape.
pub(super) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Several lines: line breaks and tabs stay.
pub(super) fn lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if stays(c) || !is_control(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_default());
        }
    }
    escaped
}

/// Control characters, and those that turn the direction of text around.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(line("a\u{1b}[31m\r\n\u{202e}é"), "a\\u{1b}[31m\\r\\n\\u{202e}é");
        assert_eq!(lines("a\n\tb\u{7}\u{9b}"), "a\n\tb\\u{7}\\u{9b}");
    }
}
