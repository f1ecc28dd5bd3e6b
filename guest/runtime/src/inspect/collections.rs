//! What each class of object shows between its braces.

use super::class::Class;
use super::layout::Body;
use super::{Inspector, MAX_ITEMS, primitive_text};
use crate::raw::{self, PromiseState, Property};
use javy::quickjs::Value;

impl<'js> Inspector<'_, 'js> {
    /// The braces and the base of an object, before anything in it is shown.
    pub(super) fn body(&mut self, value: &Value<'js>, kind: Class) -> Body {
        match kind {
            Class::Array => {
                let length = self.length_of(value);
                let plain = self.constructor_name(value).as_deref() == Some("Array");
                let prefix = if plain { String::new() } else { self.prefix(value, kind, Some(length)) };
                Body { grouped: true, ..Body::braced(format!("{prefix}["), "]") }
            }
            Class::Arguments => {
                Body { grouped: true, ..Body::braced("[Arguments] [", "]") }
            }
            Class::TypedArray => {
                let length = self.typed_array_length(value);
                let prefix = self.prefix(value, kind, Some(length));
                Body { grouped: true, numeric: true, ..Body::braced(format!("{prefix}["), "]") }
            }
            Class::Map => {
                let size = self.count(self.primordials.map_size.call(value));
                Body::braced(format!("{}{{", self.prefix(value, kind, Some(size))), "}")
            }
            Class::Set => {
                let size = self.count(self.primordials.set_size.call(value));
                Body::braced(format!("{}{{", self.prefix(value, kind, Some(size))), "}")
            }
            Class::Function => self.function(value),
            Class::Error => Body::based(self.error(value)),
            Class::Date => {
                let text = self.primordials.date_to_iso.text(value);
                Body::based(text.unwrap_or_else(|| "Invalid Date".to_owned()))
            }
            Class::RegExp => {
                let source = self.primordials.regexp_source.text(value).unwrap_or_default();
                let flags = self.primordials.regexp_flags.text(value).unwrap_or_default();
                Body::based(format!("/{source}/{flags}"))
            }
            Class::Boxed => Body::based(self.boxed(value)),
            Class::Object if self.constructor_name(value).as_deref() == Some("Object") => {
                let prefix = self.prefix(value, kind, None);
                let prefix = if prefix == "Object " { String::new() } else { prefix };
                Body::braced(format!("{prefix}{{"), "}")
            }
            Class::ArrayBuffer
            | Class::Generator
            | Class::ModuleNamespace
            | Class::Object
            | Class::Promise
            | Class::Weak => Body::braced(format!("{}{{", self.prefix(value, kind, None)), "}"),
        }
    }

    /// Shows what is in an object, elements first.
    pub(super) fn fill(&mut self, value: &Value<'js>, kind: Class, body: &mut Body) {
        match kind {
            Class::Array | Class::Arguments => self.elements(value, body),
            Class::TypedArray => self.typed_elements(value, body),
            Class::Map => self.map_entries(value, body),
            Class::Set => self.set_values(value, body),
            Class::Promise => self.promise(value, body),
            Class::ArrayBuffer => self.buffer(value, body),
            Class::Weak => body.entries.push("<items unknown>".to_owned()),
            Class::Error => return self.error_properties(value, body),
            Class::Boxed
            | Class::Date
            | Class::Function
            | Class::Generator
            | Class::ModuleNamespace
            | Class::Object
            | Class::RegExp => {}
        }
        match kind {
            // Listing the keys of a long array costs a table as long as the array.
            Class::Array | Class::Arguments if self.length_of(value) > MAX_ITEMS * MAX_ITEMS => {}
            Class::TypedArray => {}
            Class::Array | Class::Arguments => self.properties(value, body, true),
            Class::Boxed => self.properties(value, body, true),
            Class::ArrayBuffer
            | Class::Date
            | Class::Error
            | Class::Function
            | Class::Generator
            | Class::Map
            | Class::ModuleNamespace
            | Class::Object
            | Class::Promise
            | Class::RegExp
            | Class::Set
            | Class::Weak => self.properties(value, body, false),
        }
    }

    fn elements(&mut self, value: &Value<'js>, body: &mut Body) {
        let length = self.length_of(value);
        body.numeric = true;
        let mut index = 0;
        let mut holes = 0;
        while index < length && body.entries.len() < MAX_ITEMS && self.budget > 0 {
            let element = u32::try_from(index).ok().and_then(|index| raw::own_element(value, index));
            index += 1;
            let Some(property) = element else {
                holes += 1;
                // A hole may be of any size, so walking it is bounded too.
                if holes < MAX_ITEMS * MAX_ITEMS && index < length {
                    continue;
                }
                holes += length - index;
                index = length;
                push_holes(body, &mut holes);
                continue;
            };
            push_holes(body, &mut holes);
            if body.entries.len() >= MAX_ITEMS {
                index -= 1;
                break;
            }
            body.numeric &= matches!(&property, Property::Data(v) if v.is_number() || v.is_big_int());
            let shown = self.property(property);
            body.entries.push(shown);
        }
        push_more(body, length - index);
    }

    fn typed_elements(&mut self, value: &Value<'js>, body: &mut Body) {
        let length = self.typed_array_length(value);
        for index in 0..length.min(MAX_ITEMS) {
            let element = self.primordials.typed_array_at.call_with(value, index as u32);
            body.entries.extend(element.map(|element| primitive_text(self.primordials, &element)));
        }
        push_more(body, length.saturating_sub(MAX_ITEMS));
    }

    fn map_entries(&mut self, value: &Value<'js>, body: &mut Body) {
        let size = self.count(self.primordials.map_size.call(value));
        let Some(iterator) = self.primordials.map_entries.call(value) else { return };
        self.indentation += 2;
        for _ in 0..MAX_ITEMS {
            let Some(pair) = self.primordials.map_next.call(&iterator).and_then(|r| next(&r)) else {
                break;
            };
            let mut part = |index| match raw::own_element(&pair, index) {
                Some(Property::Data(value)) => self.value(&value),
                Some(Property::Accessor { .. }) | None => String::new(),
            };
            let (key, value) = (part(0), part(1));
            body.entries.push(format!("{key} => {value}"));
        }
        self.indentation -= 2;
        push_more(body, size.saturating_sub(MAX_ITEMS));
    }

    fn set_values(&mut self, value: &Value<'js>, body: &mut Body) {
        let size = self.count(self.primordials.set_size.call(value));
        let Some(iterator) = self.primordials.set_values.call(value) else { return };
        self.indentation += 2;
        for _ in 0..MAX_ITEMS {
            let Some(item) = self.primordials.set_next.call(&iterator).and_then(|r| next(&r)) else {
                break;
            };
            let shown = self.value(&item);
            body.entries.push(shown);
        }
        self.indentation -= 2;
        push_more(body, size.saturating_sub(MAX_ITEMS));
    }

    fn promise(&mut self, value: &Value<'js>, body: &mut Body) {
        self.indentation += 2;
        let shown = match raw::promise_state(value) {
            Some(PromiseState::Fulfilled(result)) => self.value(&result),
            Some(PromiseState::Rejected(reason)) => format!("<rejected> {}", self.value(&reason)),
            Some(PromiseState::Pending) | None => "<pending>".to_owned(),
        };
        self.indentation -= 2;
        body.entries.push(shown);
    }

    fn buffer(&mut self, value: &Value<'js>, body: &mut Body) {
        const SHOWN_BYTES: usize = 50;
        let length = self.count(self.primordials.buffer_length.call(value));
        let view = self.primordials.buffer_bytes.restore(self.ctx);
        let view = view.and_then(|make| make.call::<_, Value>((value.clone(),)).ok());
        if let Some(view) = view {
            let byte = |index| self.primordials.typed_array_at.call_with(&view, index as u32);
            let bytes: Vec<_> = (0..length.min(SHOWN_BYTES))
                .filter_map(|index| Some(format!("{:02x}", byte(index)?.as_int()?)))
                .collect();
            let more = match length.saturating_sub(SHOWN_BYTES) {
                0 => String::new(),
                1 => " ... 1 more byte".to_owned(),
                more => format!(" ... {more} more bytes"),
            };
            body.entries.push(format!("[Uint8Contents]: <{}{more}>", bytes.join(" ")));
        }
        body.entries.push(format!("byteLength: {length}"));
    }

    /// `[Number: 3]`, `[String: 'x']`.
    fn boxed(&mut self, value: &Value<'js>) -> String {
        let all = self.primordials;
        let primitive = [
            ("Number", &all.number_value),
            ("String", &all.string_value),
            ("Boolean", &all.boolean_value),
            ("Symbol", &all.symbol_value),
            ("BigInt", &all.bigint_value),
        ];
        let found = primitive.iter().find_map(|(name, value_of)| Some((*name, value_of.call(value)?)));
        match found {
            Some((name, inner)) => {
                let class = self.constructor_name(value).unwrap_or_default();
                let suffix = if class == name { String::new() } else { format!(" ({class})") };
                format!("[{name}{suffix}: {}]", self.value(&inner))
            }
            None => "[Object]".to_owned(),
        }
    }

    fn length_of(&self, value: &Value<'js>) -> usize {
        self.count(raw::own_data(value, "length"))
    }

    pub(super) fn typed_array_length(&self, value: &Value<'js>) -> usize {
        self.count(self.primordials.typed_array_length.call(value))
    }

    /// A count that a built-in gave: what is none counts 0.
    #[expect(clippy::unused_self, reason = "reads as one of the inspector's steps")]
    fn count(&self, value: Option<Value<'js>>) -> usize {
        let number = value.and_then(|value| value.as_number()).unwrap_or(0.0);
        // Saturating: lengths are whole numbers below 2^53, anything else becomes 0.
        number as usize
    }
}

/// The value of an iterator's result, `None` when it is done.
fn next<'js>(result: &Value<'js>) -> Option<Value<'js>> {
    let done = raw::own_data(result, "done").and_then(|done| done.as_bool()).unwrap_or(true);
    if done { None } else { raw::own_data(result, "value") }
}

fn push_holes(body: &mut Body, holes: &mut usize) {
    match std::mem::take(holes) {
        0 => {}
        1 => body.entries.push("<1 empty item>".to_owned()),
        count => body.entries.push(format!("<{count} empty items>")),
    }
}

fn push_more(body: &mut Body, left_out: usize) {
    match left_out {
        0 => return,
        1 => body.entries.push("... 1 more item".to_owned()),
        count => body.entries.push(format!("... {count} more items")),
    }
    body.cut = true;
}
