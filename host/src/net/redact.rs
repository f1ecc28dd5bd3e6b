//! Secrets that the host put into a request, taken out of what comes back.
//!
//! Invariant: no bytes are given that hold a secret whole, wherever the parts of a body were cut; what
//! cannot be told yet is held back until more comes.

use std::borrow::Cow;

/// A value, and what a script knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) value: String,
    pub(crate) placeholder: String,
}

/// Replaces values by their placeholders in bytes that come in parts.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    replacements: Vec<Replacement>,
    held: Vec<u8>,
}

impl Redactor {
    pub(crate) fn new(replacements: Vec<Replacement>) -> Self {
        Self { replacements, held: Vec::new() }
    }

    /// A text that is whole.
    pub(crate) fn whole<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for Replacement { value, placeholder } in &self.replacements {
            if text.contains(value.as_str()) {
                text = Cow::Owned(text.replace(value.as_str(), placeholder));
            }
        }
        text
    }

    /// The next part of a body, less what may be the start of a value.
    pub(crate) fn part(&mut self, part: &[u8]) -> Vec<u8> {
        if self.replacements.is_empty() {
            return part.to_vec();
        }
        self.held.extend_from_slice(part);
        let held = std::mem::take(&mut self.held);
        let (mut done, rest) = self.replaced(&held);
        let keep = self.open_end(rest);
        let (certain, open) = rest.split_at(rest.len() - keep);
        done.extend_from_slice(certain);
        self.held = open.to_vec();
        done
    }

    /// What was held back when nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The bytes up to the end of the last value, replaced, and those behind it.
    fn replaced<'a>(&self, bytes: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        let (mut done, mut rest) = (Vec::new(), bytes);
        let first = |rest: &[u8]| {
            let found = self.replacements.iter().filter_map(|replacement| {
                let value = replacement.value.as_bytes();
                let at = rest.windows(value.len()).position(|window| window == value)?;
                Some((at, replacement))
            });
            found.min_by_key(|(at, replacement)| (*at, std::cmp::Reverse(replacement.value.len())))
        };
        while let Some((at, replacement)) = first(rest) {
            done.extend_from_slice(&rest[..at]);
            done.extend_from_slice(replacement.placeholder.as_bytes());
            rest = &rest[at + replacement.value.len()..];
        }
        (done, rest)
    }

    /// Bytes at the end that are the start of a value.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let starts = self.replacements.iter().filter_map(|replacement| {
            let value = replacement.value.as_bytes();
            let longest = bytes.len().min(value.len() - 1);
            (1..=longest).rev().find(|len| bytes.ends_with(&value[..*len]))
        });
        starts.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let of = |value: &str, placeholder: &str| Replacement {
            value: value.to_owned(),
            placeholder: placeholder.to_owned(),
        };
        Redactor::new(vec![of("hunter2", "[a]"), of("hunter2hunter3", "[b]"), of("xx", "[x]")])
    }

    #[test]
    fn values_are_replaced_wherever_a_body_is_cut() {
        let body = b"a hunter2, huntehunter2hunter3 x xx xxx hunter";
        let expected = "a [a], hunte[b] x [x] [x]x hunter";
        for len in 1..=body.len() {
            let mut redactor = redactor();
            let mut out: Vec<u8> = body.chunks(len).flat_map(|part| redactor.part(part)).collect();
            out.extend(redactor.end());
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains("hunter2"), "{len}: {out}");
            if len == body.len() {
                assert_eq!(out, expected);
            }
        }
        assert_eq!(redactor().whole("is hunter2"), "is [a]");
    }

    #[test]
    fn what_holds_no_secret_is_given_at_once() {
        let mut redactor = redactor();
        assert_eq!(redactor.part(b"data: 1\n\n"), b"data: 1\n\n");
        assert_eq!(Redactor::default().part(b"hunter2"), b"hunter2");
    }
}
