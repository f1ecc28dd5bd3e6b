//! A value as JSON, when it has one and it is small: what `JSON.stringify` gives, stopped at a
//! size, so that a result of a hundred megabytes costs no more to report than one of a hundred
//! bytes.

use crate::inspect::{is_boxed, is_date, primitive_text, string_start};
use crate::text::{Piece, pieces};
use crate::{raw, state};
use javy::quickjs::function::This;
use javy::quickjs::{Array, Function, Object, Value};

/// Bytes of JSON beyond which a value has none.
const MAX_BYTES: usize = 64 * 1024;
/// Nesting beyond which a value has none; it also ends every cycle.
const MAX_DEPTH: usize = 64;

/// The value's JSON: for numbers that have one, strings, booleans, null, arrays, dates, plain
/// objects and boxed primitives. Runs getters and `toJSON` as `JSON.stringify` does; what they
/// throw means no JSON. A proxy has none, nor what holds one, since its traps are a script's.
pub(crate) fn bounded_json(value: &Value<'_>) -> Option<String> {
    let has_json = value.is_string()
        || value.is_bool()
        || value.is_null()
        || value.as_number().is_some_and(f64::is_finite)
        || value.is_array()
        || is_date(value)
        || is_boxed(value)
        || (value.is_object() && !value.is_function() && !value.is_proxy() && is_plain(value));
    if !has_json {
        return None;
    }
    let mut writer = Writer { out: String::new() };
    match writer.value(value.clone(), "", 0) {
        Ok(true) => Some(writer.out),
        Ok(false) | Err(Stop) => None,
    }
}

/// Whether an object is one of the classes whose content JSON tells.
fn is_plain(value: &Value<'_>) -> bool {
    // QuickJS's class number of ordinary objects, instances of scripts' own classes among them.
    const OBJECT: u32 = 1;
    raw::class_id(value) == OBJECT
}

/// The value has no JSON, or too much.
struct Stop;

impl From<javy::quickjs::Error> for Stop {
    fn from(_: javy::quickjs::Error) -> Self {
        Self
    }
}

struct Writer {
    out: String,
}

impl Writer {
    /// Writes a value; false when it is one that objects leave out.
    fn value(&mut self, value: Value<'_>, key: &str, depth: usize) -> Result<bool, Stop> {
        if depth > MAX_DEPTH || self.out.len() > MAX_BYTES {
            return Err(Stop);
        }
        if value.is_proxy() {
            return Err(Stop);
        }
        let value = converted(value, key)?;
        if value.is_string() {
            let start =
                state::with(|state| string_start(&state.primordials, &value, MAX_BYTES as u32));
            let (bytes, _) = start.filter(|(_, rest)| *rest == 0).ok_or(Stop)?;
            self.string(&bytes)?;
        } else if value.is_null() {
            self.out.push_str("null");
        } else if let Some(boolean) = value.as_bool() {
            self.out.push_str(if boolean { "true" } else { "false" });
        } else if let Some(number) = value.as_number() {
            self.number(number, &value);
        } else if value.is_big_int() {
            return Err(Stop);
        } else if value.is_function() || !value.is_object() {
            return Ok(false);
        } else if let Some(array) = value.as_array() {
            self.array(array, depth)?;
        } else if let Some(object) = value.as_object() {
            self.object(object, depth)?;
        }
        Ok(true)
    }

    fn number(&mut self, number: f64, value: &Value<'_>) {
        if !number.is_finite() {
            self.out.push_str("null");
        } else if number == 0.0 {
            self.out.push('0');
        } else {
            let text = state::with(|state| primitive_text(&state.primordials, value));
            self.out.push_str(&text);
        }
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.out.len() + bytes.len() > MAX_BYTES {
            return Err(Stop);
        }
        self.out.push('"');
        for piece in pieces(bytes) {
            match piece {
                Piece::Text(text) => text.chars().for_each(|c| self.character(c)),
                Piece::Surrogate(_) => self.out.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.out.push('"');
        Ok(())
    }

    fn character(&mut self, c: char) {
        match c {
            '"' => self.out.push_str("\\\""),
            '\\' => self.out.push_str("\\\\"),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            '\0'..='\u{1f}' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => self.out.push(c),
        }
    }

    fn array(&mut self, array: &Array<'_>, depth: usize) -> Result<(), Stop> {
        // The engine's interface has no length beyond 2^31; an element takes two bytes of JSON.
        let length =
            raw::own_data(array.as_value(), "length").and_then(|length| length.as_number());
        let length = length.filter(|length| *length <= (MAX_BYTES / 2) as f64).ok_or(Stop)?;
        self.out.push('[');
        for index in 0..length as usize {
            if index > 0 {
                self.out.push(',');
            }
            if !self.value(array.get(index)?, &index.to_string(), depth + 1)? {
                self.out.push_str("null");
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, object: &Object<'_>, depth: usize) -> Result<(), Stop> {
        self.out.push('{');
        let mut first = true;
        let (keys, _) = raw::own_keys(object.as_value(), MAX_BYTES);
        for key in keys {
            let Some(name) = raw::string_bytes(&key) else { continue };
            let before = self.out.len();
            if !first {
                self.out.push(',');
            }
            self.string(&name)?;
            self.out.push(':');
            if self.value(object.get(key)?, &crate::text::lossy(&name), depth + 1)? {
                first = false;
            } else {
                self.out.truncate(before);
            }
        }
        self.out.push('}');
        Ok(())
    }
}

/// What `toJSON` gives, and what is in a boxed primitive.
fn converted<'js>(value: Value<'js>, key: &str) -> Result<Value<'js>, Stop> {
    let Some(object) = value.as_object() else { return Ok(value) };
    let to_json: Value = object.get("toJSON")?;
    let value = match to_json.into_function() {
        Some(to_json) => {
            let to_json: Function = to_json;
            to_json.call((This(value.clone()), key))?
        }
        None => value,
    };
    if !value.is_object() || !is_boxed(&value) {
        return Ok(value);
    }
    let unboxed = state::with(|state| {
        let all = &state.primordials;
        [&all.number_value, &all.string_value, &all.boolean_value, &all.bigint_value]
            .iter()
            .find_map(|value_of| value_of.call(&value))
    });
    Ok(unboxed.unwrap_or(value))
}
