//! From QuickJS's bytes to UTF-8: its strings may hold lone surrogates, which UTF-8 cannot. And how
//! long a text is, in the units of JavaScript and in columns of a terminal.

use crate::raw;
use javy::quickjs::{Ctx, Exception, FromJs, Result, Value};

/// A string of a script's, its lone surrogates replaced.
pub(crate) struct Text(pub(crate) String);

impl<'js> FromJs<'js> for Text {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        of_script(ctx, &value, "a string is needed").map(Self)
    }
}

/// The same; what is none throws a `TypeError` that says so.
pub(crate) fn of_script<'js>(ctx: &Ctx<'js>, value: &Value<'js>, wrong: &str) -> Result<String> {
    match raw::string_bytes(value) {
        Some(bytes) => Ok(lossy(&bytes)),
        None => Err(Exception::throw_type(ctx, wrong)),
    }
}

/// A piece of a decoded string.
pub(crate) enum Piece<'a> {
    /// Valid text.
    Text(&'a str),
    /// A lone surrogate.
    Surrogate(u16),
}

/// Splits QuickJS's bytes into valid text and lone surrogates.
pub(crate) fn pieces(mut bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => {
                pieces.push(Piece::Text(text));
                break;
            }
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = bytes.split_at(valid);
        if let Ok(text) = std::str::from_utf8(text)
            && !text.is_empty()
        {
            pieces.push(Piece::Text(text));
        }
        // A surrogate U+D800..U+DFFF is ED A0..BF 80..BF.
        if let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] = *rest {
            let unit = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
            pieces.push(Piece::Surrogate(unit));
            bytes = &rest[3..];
        } else {
            pieces.push(Piece::Surrogate(0xFFFD));
            bytes = &rest[1..];
        }
    }
    pieces
}

/// The text with every lone surrogate replaced by U+FFFD.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len());
    for piece in pieces(bytes) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Surrogate(_) => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    out
}

/// The length of QuickJS's bytes in UTF-16 units, as JavaScript counts.
pub(crate) fn utf16_len(bytes: &[u8]) -> usize {
    // The units that begin with each byte: none within a character, two for one beyond U+FFFF.
    let units = bytes.iter().map(|byte| match byte {
        0x80..=0xBF => 0,
        0xF0..=0xFF => 2,
        0x00..=0x7F | 0xC0..=0xEF => 1,
    });
    units.sum()
}

/// The columns that a text takes in a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|c| columns_of(u32::from(c))).sum()
}

/// The ranges that Node uses where it has no Unicode tables, with all of today's emoji.
fn columns_of(code: u32) -> usize {
    match code {
        0x00..=0x1F
        | 0x7F..=0x9F
        | 0x300..=0x36F
        | 0x200B..=0x200F
        | 0x20D0..=0x20FF
        | 0xFE00..=0xFE0F
        | 0xFE20..=0xFE2F
        | 0xE0100..=0xE01EF => 0,
        0x303F => 1,
        0x1100..=0x115F
        | 0x2329..=0x232A
        | 0x2E80..=0x3247
        | 0x3250..=0x4DBF
        | 0x4E00..=0xA4C6
        | 0xA960..=0xA97C
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE10..=0xFE19
        | 0xFE30..=0xFE6B
        | 0xFF01..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1B000..=0x1B001
        | 0x1F200..=0x1F251
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}
