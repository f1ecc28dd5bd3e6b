//! Values as a REPL shows them and a console prints them: the format of Node's `util.inspect`
//! with its defaults, so that nobody has to learn another.
//!
//! Invariant: inspection runs no user code but what a script did to a `RegExp`'s flags. Getters
//! are named, not called; a proxy shows its target; a class's name is read as a data property.
//! Breadth, depth and the text made are bounded, so that no value takes long to show.

mod class;
mod collections;
mod error;
mod function;
mod layout;
mod quote;

use crate::primordials::Primordials;
use crate::raw::{self, Property};
use crate::text;
use class::class;
use javy::quickjs::{Ctx, Value};
use layout::Body;

pub(crate) use class::{is_boxed, is_date, object_type};
pub(crate) use error::error_text;

/// Objects nested deeper than this are shown by their class alone.
pub(crate) const MAX_DEPTH: usize = 2;
/// Elements, entries and keys of one object shown before `... more items`.
const MAX_ITEMS: usize = 100;
/// Characters of one string shown.
const MAX_STRING: usize = 10_000;
/// Bytes of text made, all nested values together, before the rest is left out.
const MAX_TEXT: usize = 64 * 1024;

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

/// Shows `value` as a REPL does: strings quoted.
pub(crate) fn inspect<'js>(ctx: &Ctx<'js>, primordials: &Primordials, value: &Value<'js>) -> String {
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

    fn primitive(&mut self, value: &Value<'js>) -> String {
        if let Some(bytes) = raw::string_bytes(value) {
            return self.string(&bytes);
        }
        primitive_text(self.primordials, value)
    }

    /// A quoted string, cut when long, one line a source line when it is too wide.
    fn string(&self, bytes: &[u8]) -> String {
        let (shown, rest) = quote::cut(bytes, MAX_STRING);
        let mut out = if shown.len() > 16
            && shown.len() > layout::BREAK_LENGTH.saturating_sub(self.indentation + 4)
            && !self.open.is_empty()
        {
            let lines: Vec<_> = shown.split_inclusive(|byte| *byte == b'\n').map(quote::quote).collect();
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

    /// Follows proxies of proxies, of which a script can stack many.
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
        let kind = class(value);
        let depth = self.open.len();
        let mut body = self.body(value, kind);
        if depth > self.max_depth || self.budget == 0 {
            return format!("[{}]", self.summary(value, kind));
        }
        self.open.push(identity);
        self.current_depth = depth;
        self.fill(value, kind, &mut body);
        self.open.pop();
        if let Some(index) = self.circular.iter().position(|id| *id == identity) {
            body.mark_reference(index + 1);
        }
        let nested = self.current_depth - depth;
        body.layout(self.indentation, nested)
    }

    /// Adds the own keys that an object shows beside its elements.
    fn properties(&mut self, value: &Value<'js>, body: &mut Body, skip_elements: bool) {
        let (keys, total) = raw::own_keys(value, MAX_ITEMS);
        let mut left_out = total - keys.len();
        for key in keys {
            let key_bytes = raw::string_bytes(&key);
            if skip_elements && key_bytes.as_deref().is_some_and(is_index) {
                continue;
            }
            if self.budget == 0 {
                left_out += 1;
                continue;
            }
            let name = match &key_bytes {
                Some(bytes) => quote::key(bytes),
                None => format!("[{}]", primitive_text(self.primordials, &key)),
            };
            let Some(property) = raw::own_property(value, &key) else { continue };
            let shown = self.property(property);
            body.entries.push(format!("{name}: {shown}"));
            body.extras += 1;
        }
        if left_out > 0 && !skip_elements {
            let plural = if left_out == 1 { "" } else { "s" };
            body.entries.push(format!("... {left_out} more propert{}", if plural.is_empty() { "y" } else { "ies" }));
            body.extras += 1;
        }
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

/// A primitive's text, strings bare.
pub(crate) fn primitive_text(primordials: &Primordials, value: &Value<'_>) -> String {
    if let Some(bytes) = raw::string_bytes(value) {
        return text::lossy(&bytes);
    }
    if value.is_symbol() {
        let description = primordials.symbol_description.text(value).unwrap_or_default();
        return format!("Symbol({description})");
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

/// Whether a property key is an array index.
fn is_index(key: &[u8]) -> bool {
    !key.is_empty() && key.iter().all(u8::is_ascii_digit)
}
