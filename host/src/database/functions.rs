//! Functions of SQL that take the place of SQLite's own, whose time is the product of two lengths that a
//! script chooses, while nothing can interrupt them: with values of 4 MiB, minutes. These take a time
//! that is the sum.
//!
//! Invariant: they give what SQLite's give, but for a last digit that some doubles have and need not.

use super::guard::MAX_VALUE_BYTES;
use memchr::memmem;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;

/// Puts them in the place of SQLite's.
pub(super) fn replace(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("instr", 2, flags, |context| instr(context))?;
    connection.create_scalar_function("replace", 3, flags, |context| replaced(context))?;
    connection.create_scalar_function("trim", 2, flags, |context| trimmed(context, true, true))?;
    connection
        .create_scalar_function("ltrim", 2, flags, |context| trimmed(context, true, false))?;
    connection.create_scalar_function("rtrim", 2, flags, |context| trimmed(context, false, true))
}

/// The bytes of a value's text; none of NULL.
fn text(value: ValueRef<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(real(number).into_bytes())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
    }
}

/// A number as SQLite writes it: the digits that tell it from others, and always a point.
fn real(number: f64) -> String {
    if number == 0.0 {
        return "0.0".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    let with_point = |text: &str| {
        if text.contains('.') { text.to_owned() } else { format!("{text}.0") }
    };
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..17).contains(&exponent) {
        return with_point(&number.to_string());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", with_point(digits), exponent.abs())
}

/// Where the second is in the first, from 1; by bytes in two blobs, else by characters.
#[expect(clippy::unnecessary_wraps, reason = "it is a function as SQLite's are")]
fn instr(context: &Context<'_>) -> Result<Value> {
    let (hay, needle) = (context.get_raw(0), context.get_raw(1));
    let by_bytes = matches!((hay, needle), (ValueRef::Blob(_), ValueRef::Blob(_)));
    let (Some(hay), Some(needle)) = (text(hay), text(needle)) else { return Ok(Value::Null) };
    let at = memmem::find(&hay, &needle)
        .map_or(0, |found| 1 + if by_bytes { found } else { characters(&hay[..found]) });
    Ok(Value::Integer(i64::try_from(at).unwrap_or(i64::MAX)))
}

/// Bytes that begin a character.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn replaced(context: &Context<'_>) -> Result<Value> {
    let (Some(whole), Some(old)) = (text(context.get_raw(0)), text(context.get_raw(1))) else {
        return Ok(Value::Null);
    };
    if old.is_empty() {
        return text_value(whole.into_owned());
    }
    let Some(new) = text(context.get_raw(2)) else { return Ok(Value::Null) };
    let mut made = Vec::new();
    let mut rest = 0;
    for found in memmem::find_iter(&whole, &old) {
        made.extend_from_slice(&whole[rest..found]);
        made.extend_from_slice(&new);
        rest = found + old.len();
        if made.len() as u64 > MAX_VALUE_BYTES {
            return Err(too_big());
        }
    }
    made.extend_from_slice(&whole[rest..]);
    text_value(made)
}

#[expect(clippy::unnecessary_wraps, reason = "it is a function as SQLite's are")]
fn trimmed(context: &Context<'_>, start: bool, end: bool) -> Result<Value> {
    let (Some(whole), Some(set)) = (text(context.get_raw(0)), text(context.get_raw(1))) else {
        return Ok(Value::Null);
    };
    let (whole, set) = (String::from_utf8_lossy(&whole), String::from_utf8_lossy(&set));
    let set: HashSet<char> = set.chars().collect();
    let mut kept: &str = &whole;
    if start {
        kept = kept.trim_start_matches(|character| set.contains(&character));
    }
    if end {
        kept = kept.trim_end_matches(|character| set.contains(&character));
    }
    Ok(Value::Text(kept.to_owned()))
}

fn text_value(bytes: Vec<u8>) -> Result<Value> {
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err(too_big());
    }
    Ok(Value::Text(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    ))
}

fn too_big() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_give_what_those_of_sqlite_give() {
        let (theirs, ours) = (Connection::open_in_memory(), Connection::open_in_memory());
        let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
        replace(&ours).unwrap();
        let values = [
            "NULL",
            "''",
            "'a'",
            "'b'",
            "'ab'",
            "'ababa'",
            "'ba'",
            "'grüße'",
            "'ü'",
            "'ße'",
            "x'6162'",
            "x'62'",
            "x''",
            "12",
            "-1",
            "1.5",
            "0.1",
            "1e20",
            "1e-7",
            "123456789012345678.0",
            "-0.0",
            "100000000000000.0",
            "0.00001",
            "'x'",
        ];
        let mut calls = Vec::new();
        for one in values {
            for two in values {
                for name in ["instr", "trim", "ltrim", "rtrim"] {
                    calls.push(format!("{name}({one}, {two})"));
                }
                calls.extend(
                    ["''", "'-'", "NULL", "7"].map(|new| format!("replace({one}, {two}, {new})")),
                );
            }
        }
        for call in calls {
            let sql = format!("SELECT quote({call}), typeof({call})");
            let given = |connection: &Connection| -> (String, String) {
                connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
            };
            assert_eq!(given(&ours), given(&theirs), "{call}");
        }
    }
}
