//! Functions and classes: `[Function: f]`, `[class A extends B]`.

use super::class::function_kind;
use super::names::{MAX_NAME, Names};
use super::{Inspector, string_start};
use crate::{raw, text};
use javy::quickjs::Value;

impl<'js> Inspector<'_, 'js> {
    pub(super) fn function(&mut self, value: &Value<'js>, names: &Names) -> String {
        const MAX_HEAD: u32 = 1_000;
        let source = self.primordials.function_source.call(value);
        let source = source.and_then(|source| string_start(self.primordials, &source, MAX_HEAD));
        let (head, rest) = source.unwrap_or_default();
        // A long source costs time wherever its function is shown, however short what is shown.
        self.charge(rest);
        if is_class(&text::lossy(&head)) {
            return self.class_text(value, names);
        }
        let kind = function_kind(value);
        let null = if names.constructor.is_none() { " (null prototype)" } else { "" };
        let mut shown = match self.name_text(self.inherited(value, "name")) {
            Some(name) => format!("[{kind}{null}: {name}]"),
            None => format!("[{kind}{null} (anonymous)]"),
        };
        if let Some(constructor) = names.constructor.as_deref().filter(|name| *name != kind) {
            shown.push_str(&format!(" {constructor}"));
        }
        if !names.tag.is_empty() && !names.is(&names.tag) {
            shown.push_str(&format!(" [{}]", names.tag));
        }
        shown
    }

    fn class_text(&self, value: &Value<'js>, names: &Names) -> String {
        let own_name = self.name_text(raw::own_data(value, "name"));
        let mut shown = format!("[class {}", own_name.unwrap_or_else(|| "(anonymous)".to_owned()));
        if let Some(constructor) = names.constructor.as_deref().filter(|name| *name != "Function") {
            shown.push_str(&format!(" [{constructor}]"));
        }
        if !names.tag.is_empty() && !names.is(&names.tag) {
            shown.push_str(&format!(" [{}]", names.tag));
        }
        if names.constructor.is_none() {
            shown.push_str(" extends [null prototype]");
        } else if let Some(parent) = raw::prototype(value)
            && let Some(name) = self.name_text(self.inherited(&parent, "name"))
        {
            shown.push_str(&format!(" extends {name}"));
        }
        shown + "]"
    }

    /// A name that is a string and says something.
    fn name_text(&self, name: Option<Value<'js>>) -> Option<String> {
        let (name, _) = string_start(self.primordials, &name?, MAX_NAME)?;
        if name.is_empty() { None } else { Some(text::lossy(&name)) }
    }
}

/// Whether a function's source, of which this is the start, is a class's, and not that of a method
/// whose name begins so.
fn is_class(source: &str) -> bool {
    let Some(rest) = source.strip_prefix("class") else { return false };
    let name = rest.trim_start();
    (name.len() < rest.len() || rest.starts_with(['{', '/'])) && !name.starts_with('(')
}
