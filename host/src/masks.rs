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

/// Texts of one secret, itself first, of which the start is looked for where a text is cut short: that
/// takes a time for each of them that grows with the text.
const MAX_STARTS: usize = 16;

/// How texts say that they are cut short.
static CUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"…|["'`]?\.\.\. [0-9]+ more character"#).expect("checked by the tests")
});

/// What finds one secret.
pub(crate) struct Mask {
    found: AhoCorasick,
    /// What finds its start, and that of its first lines.
    starts: Vec<Start>,
}

/// Those of a session.
#[derive(Clone)]
pub(crate) struct Masks(Vec<Arc<Mask>>);

/// What finds how much of a text's end is the start of another, by Knuth, Morris and Pratt: in a time
/// that both lengths add to, whatever they hold.
struct Start {
    wanted: Vec<u8>,
    /// For each of its own starts, the longest shorter one that it ends with.
    shorter: Vec<usize>,
}

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
        let starts = plain.iter().take(MAX_STARTS).map(|text| Start::of(text)).collect();
        let mut found = AhoCorasick::builder();
        // A table of a long secret's states takes minutes to make.
        let found = found.kind(Some(AhoCorasickKind::ContiguousNFA));
        let found = found.match_kind(MatchKind::LeftmostLongest).build(&plain).ok()?;
        (!plain.is_empty()).then_some(Self { found, starts })
    }
}

impl Start {
    fn of(text: &str) -> Self {
        let mut start = Self { wanted: text.as_bytes().to_vec(), shorter: vec![0] };
        let mut len = 0;
        for at in 1..start.wanted.len() {
            len = start.longer(len, start.wanted[at]);
            start.shorter.push(len);
        }
        start
    }

    /// How much of it a text ends with that ended with so much, and has one byte more.
    fn longer(&self, mut len: usize, byte: u8) -> usize {
        loop {
            if self.wanted.get(len) == Some(&byte) {
                return len + 1;
            }
            match len.checked_sub(1) {
                Some(last) => len = self.shorter[last],
                None => return 0,
            }
        }
    }

    /// How much of it a text ends with at each of these places, which are in order.
    fn at(&self, text: &[u8], places: &[usize]) -> Vec<usize> {
        let (mut len, mut done) = (0, 0);
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            len = text[done..*place].iter().fold(len, |len, byte| self.longer(len, *byte));
            done = *place;
            found.push(len);
        }
        found
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
        let cuts: Vec<_> = CUT.find_iter(&text).map(|cut| plain.before(cut.start())).collect();
        let starts = self.0.iter().flat_map(|mask| &mask.starts).filter(|_| !cuts.is_empty());
        for start in starts {
            let found = start.at(plain.text.as_bytes(), &cuts).into_iter().zip(&cuts);
            let open = found.filter(|(len, _)| *len >= MIN_BYTES);
            hidden.extend(open.map(|(len, cut)| plain.place(cut - len..*cut)));
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
    fn the_start_of_a_text_is_found_at_every_place() {
        let text = "abcabcabdabcabcabcabd";
        for wanted in ["abcabd", "abcabcabd", "aab", "a", "bca"] {
            let places: Vec<_> = (0..=text.len()).collect();
            for (place, found) in places.iter().zip(Start::of(wanted).at(text.as_bytes(), &places))
            {
                let ends = |len: &usize| text[..*place].ends_with(&wanted[..*len]);
                assert_eq!(Some(found), (0..=wanted.len()).rev().find(ends), "{wanted} {place}");
            }
        }
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
