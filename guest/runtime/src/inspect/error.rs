//! Errors: their name, message and stack, and what caused them.

use super::Inspector;
use super::layout::Body;
use crate::raw::{self, Property};
use crate::text;
use javy::quickjs::Value;

/// Own properties that the text of an error shows already.
const SHOWN: [&str; 3] = ["name", "message", "stack"];
/// Own properties that are not enumerable, but tell why.
const REASONS: [&str; 2] = ["cause", "errors"];

/// What an error says.
pub(crate) struct ErrorText {
    /// `ReferenceError: x is not defined`.
    pub(crate) header: String,
    /// The frames, a line each, as QuickJS wrote them; empty for an error without any.
    pub(crate) frames: String,
}

/// Reads an error without running user code: `name` and `message` as data properties of it or of
/// its prototypes.
pub(crate) fn error_text(error: &Value<'_>) -> ErrorText {
    let name = inherited_text(error, "name").unwrap_or_else(|| "Error".to_owned());
    let message = inherited_text(error, "message").unwrap_or_default();
    let header = match (name.is_empty(), message.is_empty()) {
        (_, true) => name,
        (true, false) => message,
        (false, false) => format!("{name}: {message}"),
    };
    let stack = raw::own_data(error, "stack").and_then(|stack| raw::string_bytes(&stack));
    let stack = stack.map(|stack| text::lossy(&stack)).unwrap_or_default();
    // A library may have put the header in front, as other engines do.
    let frames = stack.strip_prefix(&header).unwrap_or(&stack);
    ErrorText { header, frames: frames.trim_matches('\n').to_owned() }
}

fn inherited_text(object: &Value<'_>, name: &str) -> Option<String> {
    const MAX_CHAIN: usize = 100;
    let mut object = object.clone();
    for _ in 0..MAX_CHAIN {
        if let Some(value) = raw::own_data(&object, name) {
            return raw::string_bytes(&value).map(|bytes| text::lossy(&bytes));
        }
        object = raw::prototype(&object).filter(|object| !object.is_proxy())?;
    }
    None
}

impl<'js> Inspector<'_, 'js> {
    /// The header and frames, or `[header]` for an error without frames.
    pub(super) fn error(&self, value: &Value<'js>) -> String {
        let ErrorText { header, frames } = error_text(value);
        if frames.is_empty() {
            return format!("[{header}]");
        }
        let text = format!("{header}\n{frames}");
        text.replace('\n', &format!("\n{}", " ".repeat(self.indentation)))
    }

    /// What an error has beside its text.
    pub(super) fn error_properties(&mut self, value: &Value<'js>, body: &mut Body) {
        let (keys, _) = raw::own_keys(value, super::MAX_ITEMS);
        for key in keys {
            let bytes = raw::string_bytes(&key).unwrap_or_default();
            if SHOWN.iter().any(|shown| shown.as_bytes() == bytes) {
                continue;
            }
            if let Some(property) = raw::own_property(value, &key) {
                let name = super::quote::key(&bytes);
                let shown = self.property(property);
                body.entries.push(format!("{name}: {shown}"));
                body.extras += 1;
            }
        }
        for name in REASONS {
            if let Some(reason) = raw::own_data(value, name) {
                let shown = self.property(Property::Data(reason));
                body.entries.push(format!("[{name}]: {shown}"));
                body.extras += 1;
            }
        }
    }
}
