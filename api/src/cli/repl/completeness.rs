//! Whether a snippet is complete, by its brackets, templates and comments. It is a guess for the
//! line editor's sake, never a judgement: a snippet called complete may still be a syntax error,
//! and the engine says so.

/// Whether Enter evaluates or begins another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completeness {
    /// Nothing is open.
    Complete,
    /// A bracket, template or comment is.
    Incomplete,
}

/// What is open around a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Bracket,
    /// `${` in a template.
    Substitution,
    Template,
}

/// Looks at a snippet once, from its start.
pub(super) fn completeness(snippet: &str) -> Completeness {
    let mut scanner = Scanner { rest: snippet, open: Vec::new(), before: Before::Operator };
    if scanner.runs_out() { Completeness::Incomplete } else { Completeness::Complete }
}

/// What a slash would mean: after an operand it divides, otherwise it begins a regular expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Operand,
    Operator,
}

struct Scanner<'a> {
    rest: &'a str,
    open: Vec<Open>,
    before: Before,
}

impl Scanner<'_> {
    /// Whether the snippet ends inside something.
    fn runs_out(&mut self) -> bool {
        loop {
            if self.open.last() == Some(&Open::Template) {
                if !self.template_text() {
                    return true;
                }
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix("//") {
                self.rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix("/*") {
                match rest.split_once("*/") {
                    Some((_, rest)) => self.rest = rest,
                    None => return true,
                }
                continue;
            }
            let Some(c) = self.next() else {
                return !self.open.is_empty();
            };
            self.token(c);
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn token(&mut self, c: char) {
        match c {
            '(' | '[' | '{' => self.open.push(Open::Bracket),
            ')' | ']' | '}' => {
                self.open.pop();
            }
            '`' => self.open.push(Open::Template),
            '\'' | '"' => self.string(c),
            '/' if self.before == Before::Operator => self.regular_expression(),
            _ => {}
        }
        if !c.is_whitespace() {
            let operand =
                c.is_alphanumeric() || matches!(c, '_' | '$' | ')' | ']' | '}' | '\'' | '"');
            self.before = if operand { Before::Operand } else { Before::Operator };
        }
    }

    /// Skips a string; one that does not end on its line is a syntax error, not an open string,
    /// unless the line ends in a backslash.
    fn string(&mut self, quote: char) {
        while let Some(c) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '\n' => return,
                _ if c == quote => return,
                _ => {}
            }
        }
    }

    fn regular_expression(&mut self) {
        let mut in_class = false;
        while let Some(c) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '[' => in_class = true,
                ']' => in_class = false,
                '\n' => return,
                '/' if !in_class => return,
                _ => {}
            }
        }
    }

    /// Skips a template's text up to its end or a substitution; false when it does not end.
    fn template_text(&mut self) -> bool {
        while let Some(c) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '`' => {
                    self.open.pop();
                    self.before = Before::Operand;
                    return true;
                }
                '$' if self.rest.starts_with('{') => {
                    self.rest = &self.rest[1..];
                    self.open.push(Open::Substitution);
                    self.before = Before::Operator;
                    return true;
                }
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_complete_when_nothing_is_open() {
        for snippet in [
            "",
            "1 + 1",
            "f(1)[2]",
            "'('",
            "\"{\"",
            "`(`",
            "`${f(`x`)}`",
            "/[(/]/.test(x)",
            "a / b / c",
            "1 // (",
            "/* ( */ 1",
            "'it\\'s ('",
            "}",
            "(a) / 2",
        ] {
            assert_eq!(completeness(snippet), Completeness::Complete, "{snippet}");
        }
    }

    #[test]
    fn a_snippet_is_incomplete_while_something_is_open() {
        for snippet in [
            "f(",
            "function f() {",
            "[1,\n2,",
            "`text",
            "`${a",
            "`${a}",
            "/* a",
            "if (x) {\n  y()\n",
            "x = {a: ')'",
        ] {
            assert_eq!(completeness(snippet), Completeness::Incomplete, "{snippet}");
        }
    }
}
