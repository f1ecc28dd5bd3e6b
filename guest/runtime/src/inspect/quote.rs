//! Strings and property keys as they would be written in a script.

use crate::text::{Piece, pieces};
use std::fmt::Write as _;

/// Quotes a string with the quote that needs the least escaping, single first.
pub(super) fn quote(bytes: &[u8]) -> String {
    let has = |byte: u8| bytes.contains(&byte);
    let quote = if !has(b'\'') {
        '\''
    } else if !has(b'"') {
        '"'
    } else if !has(b'`') && !bytes.windows(2).any(|pair| pair == b"${") {
        '`'
    } else {
        '\''
    };
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(quote);
    escape_all(&mut out, bytes, quote);
    out.push(quote);
    out
}

/// A string without quotes around it, escaped as if they were single ones.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    escape_all(&mut out, bytes, '\'');
    out
}

fn escape_all(out: &mut String, bytes: &[u8], quote: char) {
    for piece in pieces(bytes) {
        match piece {
            Piece::Text(text) => text.chars().for_each(|c| escape(out, c, quote)),
            Piece::Surrogate(unit) => write!(out, "\\u{unit:04x}").expect("a String takes all"),
        }
    }
}

fn escape(out: &mut String, c: char, quote: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\\' => out.push_str("\\\\"),
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
            write!(out, "\\x{:02X}", u32::from(c)).expect("a String takes all");
        }
        _ if c == quote => {
            out.push('\\');
            out.push(c);
        }
        _ => out.push(c),
    }
}

/// A property key: bare when it is an identifier, quoted otherwise.
pub(super) fn key(bytes: &[u8]) -> String {
    let identifier = bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match std::str::from_utf8(bytes) {
        Ok("__proto__") => "['__proto__']".to_owned(),
        Ok(name) if identifier => name.to_owned(),
        Ok(_) | Err(_) => quote(bytes),
    }
}
