//! The elements of arrays and typed arrays, with the holes between them.

use super::class::Class;
use super::layout::Body;
use super::{Inspector, MAX_ITEMS, MAX_LISTED, primitive_text};
use crate::raw::{self, Property};
use javy::quickjs::Value;

impl<'js> Inspector<'_, 'js> {
    pub(super) fn elements(&mut self, value: &Value<'js>, body: &mut Body) {
        let length = self.length_of(value);
        let mut index = 0;
        while index < length.min(MAX_ITEMS) && self.budget > 0 {
            let Some(property) = element(value, index) else {
                return self.sparse_elements(value, index, body);
            };
            let shown = self.property(property);
            body.entries.push(shown);
            index += 1;
        }
        push_more(body, length - index);
    }

    /// Goes on at a hole: from key to key, since a hole may have any size.
    fn sparse_elements(&mut self, value: &Value<'js>, mut index: usize, body: &mut Body) {
        let length = self.length_of(value);
        let (keys, total) = raw::own_keys(value, MAX_LISTED);
        self.charge(total);
        let keys = keys.iter().filter_map(|key| self::index(&raw::string_bytes(key)?));
        let first = index;
        for key in keys.skip_while(|key| *key < first) {
            if body.entries.len() >= MAX_ITEMS || self.budget == 0 {
                break;
            }
            if key > index {
                push_holes(body, key - index);
                index = key;
                if body.entries.len() >= MAX_ITEMS {
                    break;
                }
            }
            let Some(property) = element(value, key) else { continue };
            let shown = self.property(property);
            body.entries.push(shown);
            index += 1;
        }
        match length - index {
            0 => {}
            left_out if body.entries.len() >= MAX_ITEMS || self.budget == 0 => {
                push_more(body, left_out)
            }
            holes => push_holes(body, holes),
        }
    }

    pub(super) fn typed_elements(&mut self, value: &Value<'js>, body: &mut Body) {
        let length = self.typed_array_length(value);
        for index in 0..length.min(MAX_ITEMS) {
            let element = self.typed_element(value, index);
            body.entries.extend(element.map(|element| primitive_text(self.primordials, &element)));
        }
        push_more(body, length.saturating_sub(MAX_ITEMS));
    }

    fn typed_element(&self, value: &Value<'js>, index: usize) -> Option<Value<'js>> {
        let index = u32::try_from(index).ok()?;
        self.primordials.typed_array_at.call_with(value, index)
    }

    /// Whether the first `count` elements are numbers, which a table sets flush right.
    pub(super) fn is_numeric(&self, value: &Value<'js>, kind: Class, count: usize) -> bool {
        (0..count).all(|index| {
            let element = match kind {
                Class::TypedArray => self.typed_element(value, index),
                _ => match element(value, index) {
                    Some(Property::Data(value)) => Some(value),
                    Some(Property::Accessor { .. }) | None => None,
                },
            };
            element.is_some_and(|element| element.is_number() || element.is_big_int())
        })
    }

    pub(super) fn length_of(&self, value: &Value<'js>) -> usize {
        self.count(raw::own_data(value, "length"))
    }

    pub(super) fn typed_array_length(&self, value: &Value<'js>) -> usize {
        self.count(self.primordials.typed_array_length.call(value))
    }

    /// A count that a built-in gave: what is none counts 0.
    #[expect(clippy::unused_self, reason = "reads as one of the inspector's steps")]
    pub(super) fn count(&self, value: Option<Value<'js>>) -> usize {
        let number = value.and_then(|value| value.as_number()).unwrap_or(0.0);
        // Saturating: lengths are whole numbers below 2^53, anything else becomes 0.
        number as usize
    }
}

/// The array index that a key is, as the language defines it.
pub(super) fn index(key: &[u8]) -> Option<usize> {
    const LARGEST: u32 = u32::MAX - 1;
    let canonical = key == b"0" || key.first().is_some_and(|first| matches!(first, b'1'..=b'9'));
    let index: u32 = std::str::from_utf8(key).ok().filter(|_| canonical)?.parse().ok()?;
    usize::try_from(index).ok().filter(|_| index <= LARGEST)
}

fn element<'js>(array: &Value<'js>, index: usize) -> Option<Property<'js>> {
    u32::try_from(index).ok().and_then(|index| raw::own_element(array, index))
}

fn push_holes(body: &mut Body, count: usize) {
    let plural = if count == 1 { "" } else { "s" };
    body.entries.push(format!("<{count} empty item{plural}>"));
}

/// Says how many items are left out.
pub(super) fn push_more(body: &mut Body, left_out: usize) {
    if left_out > 0 {
        let plural = if left_out == 1 { "" } else { "s" };
        body.entries.push(format!("... {left_out} more item{plural}"));
    }
}
