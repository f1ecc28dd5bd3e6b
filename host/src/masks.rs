//! Secrets that scripts are given, taken out of their events.
//!
//! Invariant: no text is shown that holds a secret, one of its longer lines, or the start of one where the
//! text was cut short: as it is, and as JSON and consoles write it, also the one within the other. What a
//! script takes apart, or writes otherwise on purpose, is not known again.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// What stands in the place of a secret. No secret that is masked is shorter.
const MASK: &str = "***";

/// Bytes of a value from which it is masked: what is shorter stands in many texts by chance.
pub(crate) const MIN_BYTES: usize = 4;

/// The same of one of its lines.
const MIN_LINE_BYTES: usize = 8;

/// How texts say that they are cut short.
static CUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"…|["'`]?\.\.\. [0-9]+ more character"#).expect("checked by the tests")
});

/// What finds one secret.
#[derive(Debug)]
pub(crate) struct Mask {
    found: AhoCorasick,
    /// The secret and its longer lines, without what is only how they are written.
    plain: Vec<String>,
}

/// Those of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks(Vec<Arc<Mask>>);

/// A text without what is only how it is written: backslashes, and what a console has between the lines
/// of one; what they stand for is in its place.
#[derive(Debug, Default)]
struct Plain {
    text: String,
    /// For each byte of it, where the text has what became its character.
    places: Vec<Range<usize>>,
}

impl Mask {
    /// What finds a value; none when it is too short to be told from other texts.
    pub(crate) fn of(value: &str) -> Option<Self> {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE_BYTES);
        let texts = [value, value.trim()].into_iter().chain(lines);
        let mut plain: Vec<String> = texts.map(|text| Plain::of(text).text).collect();
        plain.retain(|text| text.len() >= MIN_BYTES);
        plain.sort_unstable();
        plain.dedup();
        let mut found = AhoCorasick::builder();
        // A table of a long secret's states takes minutes to make.
        let found = found.kind(Some(AhoCorasickKind::ContiguousNFA));
        let found = found.match_kind(MatchKind::LeftmostLongest).build(&plain).ok()?;
        (!plain.is_empty()).then_some(Self { found, plain })
    }

    /// Bytes at the end of a plain text that are the start of the secret.
    fn open_end(&self, text: &[u8]) -> usize {
        let starts = self.plain.iter().map(String::as_bytes).filter_map(|secret| {
            let longest = text.len().min(secret.len() - 1);
            (MIN_BYTES..=longest).rev().find(|len| text.ends_with(&secret[..*len]))
        });
        starts.max().unwrap_or(0)
    }
}

impl Plain {
    fn of(text: &str) -> Self {
        let mut plain = Self::default();
        let mut at = 0;
        while at < text.len() {
            let (c, end) = plain_char(text, at);
            plain.push(c, at..end);
            at = end;
            if c == Some('\n') {
                at += between_lines(&text[at..]);
            }
        }
        plain
    }

    fn push(&mut self, c: Option<char>, place: Range<usize>) {
        let Some(c) = c else { return };
        self.text.push(c);
        self.places.resize(self.text.len(), place);
    }

    /// Where the text has what became a part of this.
    fn place(&self, part: Range<usize>) -> Range<usize> {
        self.places[part.start].start..self.places[part.end - 1].end
    }

    /// How much of this became of the text before a place.
    fn before(&self, place: usize) -> usize {
        self.places.partition_point(|range| range.end <= place)
    }
}

/// What stands somewhere in a text, and where that ends; one within the other has more and more
/// backslashes.
fn plain_char(text: &str, at: usize) -> (Option<char>, usize) {
    let rest = text[at..].trim_start_matches('\\');
    let start = text.len() - rest.len();
    let Some(c) = rest.chars().next() else { return (None, text.len()) };
    let end = start + c.len_utf8();
    if start == at {
        return (Some(c), end);
    }
    let coded = |digits: usize| {
        let code = text.get(end..end + digits)?;
        let code = u32::from_str_radix(code, 16).ok()?;
        Some((Some(char::from_u32(code)?), end + digits))
    };
    let control = match c {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'b' => Some('\u{8}'),
        'v' => Some('\u{b}'),
        'f' => Some('\u{c}'),
        'x' => return coded(2).unwrap_or((Some(c), end)),
        'u' => return coded(4).unwrap_or((Some(c), end)),
        c => Some(c),
    };
    (control, end)
}

/// Bytes that a console has between two lines of one text: `'one\n' +`, and `'two'` on the next.
fn between_lines(rest: &str) -> usize {
    const QUOTES: [char; 3] = ['"', '\'', '`'];
    let quote = |rest: &str| {
        let rest = rest.trim_start_matches('\\');
        rest.strip_prefix(QUOTES).map(str::len)
    };
    let after = quote(rest).and_then(|left| {
        let rest = rest[rest.len() - left..].strip_prefix(" +")?;
        let mut rest = rest.trim_start();
        while let Some(next) = rest.trim_start_matches('\\').strip_prefix('n')
            && rest.starts_with('\\')
        {
            rest = next.trim_start();
        }
        quote(rest)
    });
    after.map_or(0, |left| rest.len() - left)
}

impl Masks {
    /// None where there is nothing to mask.
    pub(crate) fn of(masks: Vec<Arc<Mask>>) -> Option<Self> {
        (!masks.is_empty()).then_some(Self(masks))
    }

    /// A text as it may be shown.
    pub(crate) fn shown(&self, text: String) -> String {
        let plain = Plain::of(&text);
        let mut hidden: Vec<Range<usize>> = Vec::new();
        for mask in &self.0 {
            let found = mask.found.find_iter(&plain.text);
            hidden.extend(found.map(|found| plain.place(found.range())));
        }
        for cut in CUT.find_iter(&text) {
            let before = plain.before(cut.start());
            let end = &plain.text.as_bytes()[..before];
            let open = self.0.iter().map(|mask| mask.open_end(end)).max().unwrap_or(0);
            if open > 0 {
                hidden.push(plain.place(before - open..before));
            }
        }
        if hidden.is_empty() { text } else { without(&text, hidden) }
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

/// A text with the mask in some places, which may overlap.
fn without(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let (mut shown, mut done) = (String::new(), 0);
    for place in places {
        if place.start >= done {
            shown.push_str(&text[done..place.start]);
            shown.push_str(MASK);
        }
        done = done.max(place.end);
    }
    shown + &text[done..]
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
    fn long_secrets_are_found_and_texts_of_any_sort_are_taken() {
        let long = "\n\"é".repeat(16_000);
        assert_eq!(masks(&[&long]).shown(format!("a{long}")), "a***");
        assert_eq!(masks(&["ab\ncd"]).shown("ab\ncd ab cd".to_owned()), "*** ab cd");
        assert!(Mask::of("\\\\abc").is_none());
        let masks = masks(&["hunter2"]);
        for text in [
            "",
            "\\",
            "\\x",
            "\\xé",
            "\\u12",
            "\\ud800",
            "\n'",
            "\\n' + ",
            "\\n' + \\n \\n",
            "…",
            "é… ... 1 more character",
        ] {
            assert_eq!(masks.shown(text.to_owned()), text);
        }
    }
}
