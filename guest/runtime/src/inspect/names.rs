//! The name an object is shown under: its constructor's, and its `Symbol.toStringTag`.
//!
//! Invariant: no user code runs. Names are read as data properties, and a getter counts as none.

use super::class::Class;
use super::{Inspector, string_start};
use crate::raw::{self, Property};
use crate::text;
use javy::quickjs::Value;

/// Prototypes looked at before a chain is given up.
const MAX_CHAIN: usize = 100;
/// UTF-16 units of a name or a tag that are shown.
pub(super) const MAX_NAME: u32 = 1_000;

/// What an object is called.
pub(super) struct Names {
    /// Its constructor's name; `None` when its prototype is null.
    pub(super) constructor: Option<String>,
    /// Its tag, empty when it has none or shows it as a property.
    pub(super) tag: String,
    /// What it is called without a constructor.
    fallback: String,
}

impl Names {
    /// `Name `, `Name(size) `, `[Name: null prototype] `, with the tag when it says more.
    pub(super) fn prefix(&self, size: Option<usize>) -> String {
        let size = size.map(|size| format!("({size})")).unwrap_or_default();
        let (name, shown) = match &self.constructor {
            Some(name) => (name, format!("{name}{size} ")),
            None => (&self.fallback, format!("[{}{size}: null prototype] ", self.fallback)),
        };
        if self.tag.is_empty() || self.tag == *name {
            shown
        } else {
            format!("{shown}[{}] ", self.tag)
        }
    }

    /// What comes before the brace of an object that is no more than an object.
    pub(super) fn plain_prefix(&self) -> String {
        if self.is("Object") && self.tag.is_empty() { String::new() } else { self.prefix(None) }
    }

    /// What comes before a text of the object's own: nothing for one that is just a `kind`.
    pub(super) fn unless(&self, kind: &str) -> String {
        let prefix = self.prefix(None);
        if prefix.strip_suffix(' ') == Some(kind) { String::new() } else { prefix }
    }

    /// What stands for an object that is nested too deep.
    pub(super) fn summary(&self) -> String {
        let prefix = self.prefix(None);
        let name = prefix.trim_end();
        if self.constructor.is_some() { format!("[{name}]") } else { name.to_owned() }
    }

    /// Whether this is its constructor's name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.constructor.as_deref() == Some(name)
    }
}

impl<'js> Inspector<'_, 'js> {
    pub(super) fn names(&mut self, value: &Value<'js>, kind: Class) -> Names {
        let fallback = self.fallback(value, kind);
        let constructor = self.constructor_name(value, &fallback, self.open.len());
        Names { constructor, tag: self.tag(value, kind), fallback }
    }

    /// The name of a built-in class, for an object whose own chain tells none.
    fn fallback(&self, value: &Value<'js>, kind: Class) -> String {
        let name = match kind {
            Class::Array => "Array",
            Class::ArrayBuffer => "ArrayBuffer",
            Class::DataView => "DataView",
            Class::Date => "Date",
            Class::Error => "Error",
            Class::Function => "Function",
            Class::Map => "Map",
            Class::ModuleNamespace => "Module",
            Class::Promise => "Promise",
            Class::RegExp => "RegExp",
            Class::Set => "Set",
            Class::SharedArrayBuffer => "SharedArrayBuffer",
            Class::TypedArray => {
                return self.primordials.typed_array_name.text(value).unwrap_or_default();
            }
            Class::WeakMap => "WeakMap",
            Class::WeakSet => "WeakSet",
            Class::Arguments | Class::Boxed | Class::Object => "Object",
        };
        name.to_owned()
    }

    /// The name of the first constructor on the chain that the object is an instance of; for an
    /// object whose chain has prototypes but no constructor, what the chain ends in.
    fn constructor_name(&mut self, value: &Value<'js>, own: &str, depth: usize) -> Option<String> {
        let chain = self.chain(value);
        for (index, object) in chain.iter().enumerate() {
            if index > 0 && self.is_captured(object, &self.primordials.object_prototype) {
                return Some("Object".to_owned());
            }
            if index > 0 && self.is_captured(object, &self.primordials.function_prototype) {
                return Some("Function".to_owned());
            }
            let constructor = raw::own_data(object, "constructor");
            if let Some(constructor) =
                constructor.filter(Value::is_function).and_then(|c| self.unproxied(c))
                && let Some(name) = raw::own_data(&constructor, "name")
                && let Some((bytes, _)) = string_start(self.primordials, &name, MAX_NAME)
                && !bytes.is_empty()
                && let Some(prototype) = raw::own_data(&constructor, "prototype")
                && prototype.is_object()
                && chain[1..].iter().any(|link| raw::identity(link) == raw::identity(&prototype))
            {
                return Some(text::lossy(&bytes));
            }
        }
        let parent = chain.get(1)?;
        if depth > self.max_depth {
            return Some(format!("{own} <Complex prototype>"));
        }
        let kind = super::class::class(parent);
        let fallback = self.fallback(parent, kind);
        let inner = self.constructor_name(parent, &fallback, depth + 1);
        Some(match inner {
            Some(name) => format!("{own} <{name}>"),
            None => {
                let names = Names { constructor: None, tag: self.tag(parent, kind), fallback };
                let empty = if self.keys(parent, kind).list.is_empty() { " {}" } else { "" };
                format!("{own} <{}{empty}>", names.summary())
            }
        })
    }

    /// The object and its prototypes; a proxy among them stands for its target.
    fn chain(&self, value: &Value<'js>) -> Vec<Value<'js>> {
        let mut chain = vec![value.clone()];
        while chain.len() < MAX_CHAIN {
            let next = chain.last().and_then(raw::prototype);
            match next.and_then(|next| self.unproxied(next)) {
                Some(next) => chain.push(next),
                None => break,
            }
        }
        chain
    }

    /// The object itself, or what a proxy leads to.
    fn unproxied(&self, value: Value<'js>) -> Option<Value<'js>> {
        if value.is_proxy() { self.unwrap_proxy(&value) } else { Some(value) }
    }

    fn is_captured(&self, object: &Value<'js>, captured: &crate::primordials::Captured) -> bool {
        captured
            .restore(self.ctx)
            .is_some_and(|captured| raw::identity(&captured) == raw::identity(object))
    }

    /// Whether an object that the engine does not call an error inherits from `Error.prototype`.
    pub(super) fn inherits_from_error(&self, value: &Value<'js>) -> bool {
        self.chain(value)[1..]
            .iter()
            .any(|object| self.is_captured(object, &self.primordials.error_prototype))
    }

    /// The tag that is no enumerable property of the object itself, which shows those anyway.
    fn tag(&self, value: &Value<'js>, kind: Class) -> String {
        let Some(symbol) = self.primordials.symbol_to_string_tag.restore(self.ctx) else {
            return String::new();
        };
        for (index, object) in self.chain(value).iter().enumerate() {
            let text = match raw::own_property(object, &symbol) {
                None => continue,
                // The built-in getter of typed arrays, or one of a script's, which is not run.
                Some(Property::Accessor { .. }) if kind == Class::TypedArray => {
                    self.primordials.typed_array_name.text(value)
                }
                Some(Property::Accessor { .. }) => None,
                Some(Property::Data(tag)) => {
                    string_start(self.primordials, &tag, MAX_NAME).map(|(tag, _)| text::lossy(&tag))
                }
            };
            let enumerable = index == 0
                && self
                    .primordials
                    .is_enumerable
                    .call_with(value, symbol)
                    .is_some_and(|enumerable| enumerable.as_bool() == Some(true));
            return text.filter(|_| !enumerable).unwrap_or_default();
        }
        String::new()
    }

    /// A property that an object has or inherits, when it holds a value.
    pub(super) fn inherited(&self, value: &Value<'js>, name: &str) -> Option<Value<'js>> {
        self.chain(value).iter().find_map(|object| raw::own_data(object, name))
    }
}
