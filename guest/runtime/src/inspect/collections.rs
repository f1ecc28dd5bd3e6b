//! What each class of object shows: its braces, a text of its own, what is in it.

use super::class::Class;
use super::elements::push_more;
use super::layout::Body;
use super::names::Names;
use super::{Inspector, Keys, MAX_ITEMS};
use crate::raw::{self, PromiseState, Property};
use javy::quickjs::Value;

impl<'js> Inspector<'_, 'js> {
    /// The braces and the base of an object, before anything in it is shown. `keys` are its own,
    /// of which an error's text tells some.
    pub(super) fn body(
        &mut self,
        value: &Value<'js>,
        kind: Class,
        names: &Names,
        keys: &mut Keys<'js>,
    ) -> Body {
        match kind {
            Class::Array => {
                let length = self.length_of(value);
                let plain = names.is("Array") && names.tag.is_empty();
                let prefix = if plain { String::new() } else { names.prefix(Some(length)) };
                Body::listing(prefix, length)
            }
            Class::TypedArray => {
                let length = self.typed_array_length(value);
                Body::listing(names.prefix(Some(length)), length)
            }
            Class::Map | Class::Set => {
                let size = self.size(value, kind);
                Body { is_leaf: size == 0, ..Body::braced(names.prefix(Some(size))) }
            }
            Class::Arguments if names.is("Object") => Body::object("[Arguments] ".to_owned()),
            Class::Function => Body::based(self.function(value, names)),
            Class::Error => Body::based(self.error(value, names, keys)),
            Class::Date => {
                let text = self.primordials.date_to_iso.text(value);
                let text = text.unwrap_or_else(|| "Invalid Date".to_owned());
                Body::based(format!("{}{text}", names.unless("Date")))
            }
            Class::RegExp => {
                let source = self.primordials.regexp_source.text(value).unwrap_or_default();
                let flags = self.primordials.regexp_flags.text(value).unwrap_or_default();
                Body::based(format!("{}/{source}/{flags}", names.unless("RegExp")))
            }
            // The prototypes of the boxes are boxes themselves, shown as the objects they are.
            Class::Boxed if names.is("Object") => Body::object(names.plain_prefix()),
            Class::Boxed => Body::based(self.boxed(value, names)),
            Class::Arguments | Class::ModuleNamespace | Class::Object => {
                Body::object(names.plain_prefix())
            }
            Class::ArrayBuffer
            | Class::DataView
            | Class::Promise
            | Class::SharedArrayBuffer
            | Class::WeakMap
            | Class::WeakSet => Body::braced(names.prefix(None)),
        }
    }

    /// Shows what is in an object beside its own keys.
    pub(super) fn fill(&mut self, value: &Value<'js>, kind: Class, body: &mut Body) {
        match kind {
            Class::Array => self.elements(value, body),
            Class::TypedArray => self.typed_elements(value, body),
            Class::Map => self.map_entries(value, body),
            Class::Set => self.set_values(value, body),
            Class::Promise => self.promise(value, body),
            Class::ArrayBuffer | Class::SharedArrayBuffer => self.buffer(value, kind, body),
            Class::DataView => self.view(value, body),
            Class::WeakMap | Class::WeakSet => body.entries.push("<items unknown>".to_owned()),
            Class::Arguments
            | Class::Boxed
            | Class::Date
            | Class::Error
            | Class::Function
            | Class::ModuleNamespace
            | Class::Object
            | Class::RegExp => {}
        }
    }

    fn size(&self, value: &Value<'js>, kind: Class) -> usize {
        let all = self.primordials;
        let size = if kind == Class::Map { &all.map_size } else { &all.set_size };
        self.count(size.call(value))
    }

    fn map_entries(&mut self, value: &Value<'js>, body: &mut Body) {
        let size = self.size(value, Class::Map);
        let Some(iterator) = self.primordials.map_entries.call(value) else { return };
        let mut shown = 0;
        self.indentation += 2;
        while shown < MAX_ITEMS && self.budget > 0 {
            let Some(pair) = self.primordials.map_next.call(&iterator).and_then(|r| next(&r))
            else {
                break;
            };
            let mut part = |index| match raw::own_element(&pair, index) {
                Some(Property::Data(value)) => self.value(&value),
                Some(Property::Accessor { .. }) | None => String::new(),
            };
            let (key, value) = (part(0), part(1));
            body.entries.push(format!("{key} => {value}"));
            shown += 1;
        }
        self.indentation -= 2;
        push_more(body, size.saturating_sub(shown));
    }

    fn set_values(&mut self, value: &Value<'js>, body: &mut Body) {
        let size = self.size(value, Class::Set);
        let Some(iterator) = self.primordials.set_values.call(value) else { return };
        let mut shown = 0;
        self.indentation += 2;
        while shown < MAX_ITEMS && self.budget > 0 {
            let Some(item) = self.primordials.set_next.call(&iterator).and_then(|r| next(&r))
            else {
                break;
            };
            let item = self.value(&item);
            body.entries.push(item);
            shown += 1;
        }
        self.indentation -= 2;
        push_more(body, size.saturating_sub(shown));
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

    fn buffer(&mut self, value: &Value<'js>, kind: Class, body: &mut Body) {
        let all = self.primordials;
        let length =
            if kind == Class::ArrayBuffer { &all.buffer_length } else { &all.shared_buffer_length };
        let length = self.count(length.call(value));
        body.entries.push(match all.buffer_bytes.call(value) {
            Some(view) => {
                let byte = |index| all.typed_array_at.call_with(&view, index as u32)?.as_int();
                let bytes: Vec<_> = (0..length.min(MAX_ITEMS))
                    .filter_map(|index| Some(format!("{:02x}", byte(index)?)))
                    .collect();
                let more = match length.saturating_sub(MAX_ITEMS) {
                    0 => String::new(),
                    1 => " ... 1 more byte".to_owned(),
                    more => format!(" ... {more} more bytes"),
                };
                format!("[Uint8Contents]: <{}{more}>", bytes.join(" "))
            }
            None => "(detached)".to_owned(),
        });
        body.entries.push(format!("byteLength: {length}"));
    }

    fn view(&mut self, value: &Value<'js>, body: &mut Body) {
        let all = self.primordials;
        for (name, getter) in [
            ("byteLength", &all.view_length),
            ("byteOffset", &all.view_offset),
            ("buffer", &all.view_buffer),
        ] {
            let Some(part) = getter.call(value) else { continue };
            let shown = self.property(Property::Data(part));
            body.entries.push(format!("{name}: {shown}"));
        }
    }

    /// `[Number: 3]`, `[String: 'x']`.
    fn boxed(&mut self, value: &Value<'js>, names: &Names) -> String {
        let all = self.primordials;
        let primitive = [
            ("Number", &all.number_value),
            ("String", &all.string_value),
            ("Boolean", &all.boolean_value),
            ("Symbol", &all.symbol_value),
            ("BigInt", &all.bigint_value),
        ];
        let found =
            primitive.iter().find_map(|(name, value_of)| Some((*name, value_of.call(value)?)));
        let Some((name, inner)) = found else { return "[Object]".to_owned() };
        let class = match names.constructor.as_deref() {
            Some(class) if class == name => String::new(),
            Some(class) => format!(" ({class})"),
            None => " (null prototype)".to_owned(),
        };
        let tag = match names.tag.as_str() {
            "" => String::new(),
            tag if names.is(tag) => String::new(),
            tag => format!(" [{tag}]"),
        };
        format!("[{name}{class}: {}]{tag}", self.primitive(&inner))
    }

    /// How many of a boxed string's keys are its characters; 0 for another object.
    pub(super) fn boxed_string_length(&self, value: &Value<'js>) -> usize {
        match self.primordials.string_value.call(value) {
            Some(_) => self.length_of(value),
            None => 0,
        }
    }
}

/// The value of an iterator's result, `None` when it is done.
fn next<'js>(result: &Value<'js>) -> Option<Value<'js>> {
    let done = raw::own_data(result, "done").and_then(|done| done.as_bool()).unwrap_or(true);
    if done { None } else { raw::own_data(result, "value") }
}
