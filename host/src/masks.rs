//! Secrets that scripts are given, taken out of their events.
//!
//! Invariant: no text is shown that holds a secret, one of its longer lines, or the start of one where the
//! text was cut short: as it is, and as JSON and consoles write it, also the one within the other. What a
//! script takes apart, or writes otherwise on purpose, is not known again.

use regex::{Regex, RegexBuilder};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// What stands in the place of a secret. No secret that is masked is shorter.
const MASK: &str = "***";

/// Bytes of a value from which it is masked: what is shorter stands in many texts by chance.
pub(crate) const MIN_BYTES: usize = 4;

/// The same of one of its lines.
const MIN_LINE_BYTES: usize = 8;

/// Bytes of the program that finds a value: enough for the longest.
const MAX_PROGRAM_BYTES: usize = 256 << 20;

/// How texts say that they are cut short.
static CUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"…|["'`]?\.\.\. [0-9]+ more character"#).expect("checked by the tests")
});

/// What finds one secret.
#[derive(Debug)]
pub(crate) struct Mask {
    found: Regex,
    /// What is cut short where a text is.
    lines: Vec<String>,
}

/// Those of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks(Vec<Arc<Mask>>);

impl Mask {
    /// What finds a value; none when it is too long.
    pub(crate) fn of(value: &str) -> Option<Self> {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE_BYTES);
        let mut texts: Vec<&str> = [value, value.trim()].into_iter().chain(lines).collect();
        texts.retain(|text| text.len() >= MIN_BYTES);
        // The first that fits is taken.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
        let mut found = RegexBuilder::new(&patterns.join("|"));
        let found = found.size_limit(MAX_PROGRAM_BYTES).build().ok()?;
        Some(Self { found, lines: texts.into_iter().map(str::to_owned).collect() })
    }

    /// Bytes at the end of a text that are the start of the secret.
    fn open_end(&self, text: &str) -> usize {
        let starts = self.lines.iter().filter_map(|line| {
            let longest = text.len().min(line.len() - 1);
            let is_end = |len: &usize| text.as_bytes().ends_with(&line.as_bytes()[..*len]);
            (MIN_BYTES..=longest).rev().find(is_end)
        });
        starts.max().unwrap_or(0)
    }
}

impl Masks {
    /// None where there is nothing to mask.
    pub(crate) fn of(masks: Vec<Arc<Mask>>) -> Option<Self> {
        (!masks.is_empty()).then_some(Self(masks))
    }

    /// A text as it may be shown.
    pub(crate) fn shown(&self, mut text: String) -> String {
        for Mask { found, .. } in self.0.iter().map(AsRef::as_ref) {
            if found.is_match(&text) {
                text = found.replace_all(&text, MASK).into_owned();
            }
        }
        if CUT.is_match(&text) { self.without_starts(&text) } else { text }
    }

    /// The same, where it says in places that it was cut short.
    fn without_starts(&self, text: &str) -> String {
        let mut shown = String::new();
        let mut done = 0;
        for cut in CUT.find_iter(text) {
            let before = &text[done..cut.start()];
            let open = self.0.iter().map(|mask| mask.open_end(before)).max().unwrap_or(0);
            let kept = before.floor_char_boundary(before.len() - open);
            shown.push_str(&before[..kept]);
            if kept < before.len() {
                shown.push_str(MASK);
            }
            shown.push_str(cut.as_str());
            done = cut.end();
        }
        shown + &text[done..]
    }

    /// JSON as it may be shown.
    pub(crate) fn mask_json(&self, json: &mut serde_json::Value) {
        use serde_json::Value;
        match json {
            Value::String(text) => *text = self.shown(std::mem::take(text)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(members) => {
                for (name, mut value) in std::mem::take(members) {
                    self.mask_json(&mut value);
                    members.insert(self.shown(name), value);
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                let shown = self.shown(text.clone());
                if shown != text {
                    *json = Value::String(shown);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// What finds a text in each way that it is written.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    let mut push = |part: std::fmt::Arguments<'_>| {
        pattern.write_fmt(part).expect("writing to a text cannot fail");
    };
    for c in text.chars() {
        match c {
            // One within the other has more and more backslashes.
            '"' | '\'' | '`' => push(format_args!(r"\\*{c}")),
            '\\' => push(format_args!(r"\\+")),
            // A console breaks a text after its lines: 'one\n' +  'two'.
            '\n' => push(format_args!(r#"(?:\n|\\+n)(?:\\*["'`] \+(?:\s|\\+n)*\\*["'`])?"#)),
            c if c.is_control() => {
                let code = u32::from(c);
                let short = match c {
                    '\r' => "r",
                    '\t' => "t",
                    '\u{8}' => "b",
                    '\u{b}' => "v",
                    '\u{c}' => "f",
                    _ => "x00",
                };
                push(format_args!(
                    r"(?:\x{{{code:x}}}|\\+(?:{short}|x(?i:{code:02x})|u(?i:{code:04x})))"
                ));
            }
            c => push(format_args!("{}", regex::escape(c.encode_utf8(&mut [0; 4])))),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn masks(values: &[&str]) -> Masks {
        let masks = values.iter().map(|value| Arc::new(Mask::of(value).unwrap()));
        Masks::of(masks.collect()).unwrap()
    }

    #[test]
    fn a_secret_is_masked_in_each_way_that_it_is_written() {
        let value = "{\"key\":\"-----BEGIN\nMII'E\\abcd\n\"}\t\u{1}é`";
        let masks = masks(&[value, "hunter2"]);
        let shown = |text: &str| masks.shown(text.to_owned());
        assert_eq!(shown(&format!("a {value} b hunter2")), "a *** b ***");
        let mut json = value.to_owned();
        for _ in 0..4 {
            json = serde_json::to_string(&json).unwrap();
            assert_eq!(shown(&json).trim_matches(['"', '\\']), "***", "{json}");
        }
        for written in [
            r#"'{"key":"-----BEGIN\nMII\'E\\abcd\n"}\t\x01é`'"#,
            "'{\"key\":\"-----BEGIN\\n' +\n  'MII\\'E\\\\abcd\\n' +\n  '\"}\\t\\x01é`'",
        ] {
            assert_eq!(shown(written), "'***'", "{written}");
        }
        assert_eq!(shown("one line: MII'E\\abcd."), "one line: ***.");
        assert_eq!(shown("nothing of it, hunter, unter2"), "nothing of it, hunter, unter2");
    }

    #[test]
    fn the_start_of_a_secret_is_masked_where_a_text_is_cut() {
        let masks = masks(&["hunter2hunter2"]);
        for (text, expected) in [
            ("is hunter2hunt…", "is ***…"),
            ("hunt…", "***…"),
            ("a hun…", "a hun…"),
            ("a hunter", "a hunter"),
            (
                "[ 'xhunter2'... 7 more characters, 'hunter'... 1 more character ]",
                "[ 'x***'... 7 more characters, '***'... 1 more character ]",
            ),
            ("call 'yyhunter2…': 1 in, hunter2hunter2", "call 'yy***…': 1 in, ***"),
        ] {
            assert_eq!(masks.shown(text.to_owned()), expected);
        }
    }

    #[test]
    fn json_is_masked_in_names_texts_and_numbers() {
        let masks = masks(&["98765432", "hunter2"]);
        let mut json = json!({"hunter2": [98_765_432, 1, "a hunter2", null, {"n": 9.5}]});
        masks.mask_json(&mut json);
        assert_eq!(json, json!({"***": ["***", 1, "a ***", null, {"n": 9.5}]}));
    }

    #[test]
    fn long_secrets_are_found_and_short_ones_are_left() {
        let long = "\n\"é".repeat(16_000);
        assert_eq!(masks(&[&long]).shown(format!("a{long}")), "a***");
        assert_eq!(masks(&["ab\ncd"]).shown("ab\ncd ab cd".to_owned()), "*** ab cd");
    }
}
