//! Values as a REPL shows them and a console prints them: the format of Node's `util.inspect`
//! with its defaults, so that nobody has to learn another.
//!
//! Invariant: inspection runs no user code. Getters are named, not called; a proxy shows its
//! target; names and tags are read as data properties. Breadth, depth and the text made are
//! bounded, so that no value takes long to show.
//!
//! It differs from Node on purpose where Node would run a script's code (`inspect.custom`, the
//! getters of `name`, `message` and `Symbol.toStringTag`), and where it could not be bounded (the
//! keys of a very long array or a very wide object). Iterators show no items, since the engine
//! tells them only to who takes them.

mod class;
mod collections;
mod elements;
mod error;
mod function;
mod layout;
mod names;
mod quote;

use crate::primordials::Primordials;
use crate::raw::{self, Property};
use crate::text;
use class::{Class, class};
use javy::quickjs::{Ctx, Value};
use layout::Body;

pub(crate) use class::{class_name, is_boxed, is_date, object_type};
pub(crate) use error::error_text;

/// Objects nested deeper than this are shown by their class alone.
pub(crate) const MAX_DEPTH: usize = 2;
/// Elements and entries of one object shown before `... more items`.
const MAX_ITEMS: usize = 100;
/// Keys of one object shown before `... more properties`. Node shows all; a thousand are more
/// than anybody reads.
const MAX_KEYS: usize = 1_000;
/// Elements of an array beyond which its other keys are not looked for, because the engine lists
/// them behind a key for each element.
const MAX_LISTED: usize = 10_000;
/// UTF-16 units of one string shown.
const MAX_STRING: u32 = 10_000;
/// UTF-16 units of one string printed bare, and bytes of one console call: one more than an event
/// may hold, so that the host says what was too much.
pub(crate) const MAX_BARE: u32 = (2 << 20) + 1;
/// Bytes of text made, every level counting its own, before the rest is left out: what the
/// output of an execution may hold by default.
const MAX_TEXT: usize = 256 * 1024;

/// One inspection, of one value or of the arguments of one console call.
pub(crate) struct Inspector<'a, 'js> {
    ctx: &'a Ctx<'js>,
    primordials: &'a Primordials,
    /// The objects being shown, outermost first, to notice a cycle.
    open: Vec<u32>,
    /// The objects that a cycle leads to, in the order they were met.
    circular: Vec<u32>,
    max_depth: usize,
    /// Nesting of the object shown last: how deep what was just written goes.
    current_depth: usize,
    indentation: usize,
    budget: usize,
}

/// The own keys of an object that are shown beside its elements.
struct Keys<'js> {
    list: Vec<Value<'js>>,
    /// How many more there are.
    left_out: usize,
}

/// Shows `value` as a REPL does: strings quoted.
pub(crate) fn inspect<'js>(
    ctx: &Ctx<'js>,
    primordials: &Primordials,
    value: &Value<'js>,
) -> String {
    Inspector::new(ctx, primordials).value(value)
}

impl<'a, 'js> Inspector<'a, 'js> {
    pub(crate) fn new(ctx: &'a Ctx<'js>, primordials: &'a Primordials) -> Self {
        Self {
            ctx,
            primordials,
            open: Vec::new(),
            circular: Vec::new(),
            max_depth: MAX_DEPTH,
            current_depth: 0,
            indentation: 0,
            budget: MAX_TEXT,
        }
    }

    /// The same, nesting no deeper than `depth`.
    pub(crate) fn with_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// Shows one value.
    pub(crate) fn value(&mut self, value: &Value<'js>) -> String {
        let shown = if value.is_object() { self.object(value) } else { self.primitive(value) };
        self.budget = self.budget.saturating_sub(shown.len());
        shown
    }

    /// Counts work that leaves no text, sixteen bytes read as one written.
    fn charge(&mut self, read: usize) {
        self.budget = self.budget.saturating_sub(read / 16);
    }

    fn primitive(&self, value: &Value<'js>) -> String {
        match string_start(self.primordials, value, MAX_STRING) {
            Some((start, rest)) => self.string(&start, rest),
            None => primitive_text(self.primordials, value),
        }
    }

    /// A quoted string of which `rest` units are left out, one line a source line when it is too
    /// wide.
    fn string(&self, shown: &[u8], rest: usize) -> String {
        let width = text::utf16_len(shown);
        let mut out = if width > 16 && width + self.indentation + 4 > layout::BREAK_LENGTH {
            let lines: Vec<_> =
                shown.split_inclusive(|byte| *byte == b'\n').map(quote::quote).collect();
            lines.join(&format!(" +\n{}", " ".repeat(self.indentation + 2)))
        } else {
            quote::quote(shown)
        };
        if rest > 0 {
            let plural = if rest == 1 { "" } else { "s" };
            out.push_str(&format!("... {rest} more character{plural}"));
        }
        out
    }

    fn object(&mut self, value: &Value<'js>) -> String {
        let target;
        let value = if value.is_proxy() {
            match self.unwrap_proxy(value) {
                Some(inner) => {
                    target = inner;
                    &target
                }
                None => return "<Revoked Proxy>".to_owned(),
            }
        } else {
            value
        };
        let identity = raw::identity(value);
        if self.open.contains(&identity) {
            let index = self.circular.iter().position(|id| *id == identity).unwrap_or_else(|| {
                self.circular.push(identity);
                self.circular.len() - 1
            });
            return format!("[Circular *{}]", index + 1);
        }
        self.shown(value, identity)
    }

    /// Follows proxies of proxies. A script can stack more than it is worth following; such a one
    /// counts as revoked.
    fn unwrap_proxy(&self, proxy: &Value<'js>) -> Option<Value<'js>> {
        const MAX_PROXIES: usize = 1_000;
        let mut value = proxy.clone();
        for _ in 0..MAX_PROXIES {
            value = raw::proxy_target(&value)?;
            if !value.is_proxy() {
                return Some(value);
            }
        }
        None
    }

    fn shown(&mut self, value: &Value<'js>, identity: u32) -> String {
        let mut kind = class(value);
        let names = self.names(value, kind);
        if kind == Class::Object && !names.is("Object") && self.inherits_from_error(value) {
            kind = Class::Error;
        }
        let mut keys = self.keys(value, kind);
        let mut body = self.body(value, kind, &names, &mut keys);
        if body.is_leaf && keys.list.is_empty() {
            return body.alone();
        }
        let depth = self.open.len();
        if depth > self.max_depth || self.budget == 0 {
            return if kind == Class::RegExp { body.base } else { names.summary() };
        }
        self.open.push(identity);
        self.current_depth = depth;
        self.fill(value, kind, &mut body);
        self.properties(value, keys, &mut body);
        body.numeric = body.grouped && self.is_numeric(value, kind, body.entries.len());
        self.open.pop();
        if let Some(index) = self.circular.iter().position(|id| *id == identity) {
            body.mark_reference(index + 1);
        }
        let nested = self.current_depth - depth;
        body.layout(self.indentation, nested)
    }

    /// The keys that an object shows beside its elements.
    fn keys(&mut self, value: &Value<'js>, kind: Class) -> Keys<'js> {
        let indexed = match kind {
            Class::Array => self.length_of(value),
            Class::TypedArray => self.typed_array_length(value),
            Class::Boxed => self.boxed_string_length(value),
            _ => 0,
        };
        if indexed > MAX_LISTED {
            return Keys { list: Vec::new(), left_out: 0 };
        }
        let (mut list, total) = raw::own_keys(value, indexed + MAX_KEYS);
        self.charge(total);
        let left_out = total - list.len();
        if indexed > 0 || matches!(kind, Class::Array | Class::TypedArray) {
            list.retain(|key| {
                !raw::string_bytes(key).is_some_and(|key| elements::index(&key).is_some())
            });
        }
        Keys { list, left_out }
    }

    fn properties(&mut self, value: &Value<'js>, keys: Keys<'js>, body: &mut Body) {
        let Keys { list, mut left_out } = keys;
        for key in list {
            if self.budget == 0 {
                left_out += 1;
                continue;
            }
            let Some(property) = raw::own_property(value, &key) else { continue };
            let name = self.key(value, &key);
            self.budget = self.budget.saturating_sub(name.len());
            let shown = self.property(property);
            body.entries.push(format!("{name}: {shown}"));
        }
        if left_out > 0 {
            let plural = if left_out == 1 { "y" } else { "ies" };
            body.entries.push(format!("... {left_out} more propert{plural}"));
        }
    }

    /// A key as it stands before its value: in brackets when it is a symbol or not enumerable.
    /// It is cut where a string is.
    fn key(&self, value: &Value<'js>, key: &Value<'js>) -> String {
        let start = |text: &Value<'js>| string_start(self.primordials, text, MAX_STRING);
        let Some((bytes, _)) = start(key) else {
            let symbol = self.primordials.symbol_description.call(key);
            let description = symbol.and_then(|text| start(&text)).unwrap_or_default();
            return format!("[Symbol({})]", quote::escaped(&description.0));
        };
        let enumerable = self.primordials.is_enumerable.call_with(value, key.clone());
        if enumerable.and_then(|enumerable| enumerable.as_bool()) == Some(false) {
            return format!("[{}]", quote::escaped(&bytes));
        }
        quote::key(&bytes)
    }

    /// One property's value, indented as the object it stands in.
    fn property(&mut self, property: Property<'js>) -> String {
        match property {
            Property::Data(value) => {
                self.indentation += 2;
                let shown = self.value(&value);
                self.indentation -= 2;
                shown
            }
            Property::Accessor { get: true, set: true } => "[Getter/Setter]".to_owned(),
            Property::Accessor { get: true, set: false } => "[Getter]".to_owned(),
            Property::Accessor { get: false, set: _ } => "[Setter]".to_owned(),
        }
    }
}

/// The first `limit` UTF-16 units of a string, and how many follow; `None` for what is no string.
/// A string of half the memory is not copied whole.
pub(crate) fn string_start(
    primordials: &Primordials,
    value: &Value<'_>,
    limit: u32,
) -> Option<(Vec<u8>, usize)> {
    if !value.is_string() {
        return None;
    }
    let length = primordials.string_length.call(value).and_then(|length| length.as_number());
    // Exact: a string's length is a whole number below 2^30.
    let rest = (length.unwrap_or(0.0) as usize).saturating_sub(limit as usize);
    if rest == 0 {
        return Some((raw::string_bytes(value).unwrap_or_default(), 0));
    }
    let start = primordials.string_slice.call_with_two(value, 0, limit);
    let start = start.and_then(|start| raw::string_bytes(&start));
    Some((start.unwrap_or_default(), rest))
}

/// A primitive's text, strings bare.
pub(crate) fn primitive_text(primordials: &Primordials, value: &Value<'_>) -> String {
    if let Some((start, _)) = string_start(primordials, value, MAX_BARE) {
        return text::lossy(&start);
    }
    if value.is_symbol() {
        let description = primordials.symbol_description.call(value);
        let description = description.and_then(|text| string_start(primordials, &text, MAX_BARE));
        let description = description.map(|(start, _)| text::lossy(&start));
        return format!("Symbol({})", description.unwrap_or_default());
    }
    if value.as_float().is_some_and(|number| number == 0.0 && number.is_sign_negative()) {
        return "-0".to_owned();
    }
    let text = raw::to_js_string(value).ok().and_then(|value| raw::string_bytes(&value));
    let mut text = text.map(|bytes| text::lossy(&bytes)).unwrap_or_default();
    if value.is_big_int() {
        text.push('n');
    }
    text
}
