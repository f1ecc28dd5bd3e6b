//! Errors: their name, message and stack, and what caused them.

use super::names::Names;
use super::{Inspector, Keys, primitive_text, string_start};
use crate::{raw, state, text};
use javy::quickjs::{IntoJs, Value};

/// Own properties left out when the text of an error tells them already.
const TOLD: [&str; 3] = ["name", "message", "stack"];
/// Own properties that are shown although they are not enumerable, because they tell why.
const REASONS: [&str; 2] = ["cause", "errors"];
/// How a line of a stack begins.
const FRAME: &str = "    at ";
/// UTF-16 units of a name, a message or a stack that are read.
const MAX_ERROR_TEXT: u32 = 1024 * 1024;

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
    let stack = own_stack(error).unwrap_or_default();
    // A library may have put the header in front, as other engines do.
    let frames = stack.strip_prefix(&header).unwrap_or(&stack);
    ErrorText { header, frames: frames.trim_matches('\n').to_owned() }
}

/// A property of an error or of its prototypes, as text; an object has none without running code.
fn inherited_text(object: &Value<'_>, name: &str) -> Option<String> {
    const MAX_CHAIN: usize = 100;
    let mut object = object.clone();
    for _ in 0..MAX_CHAIN {
        match raw::own_data(&object, name) {
            Some(value) if value.is_undefined() || value.is_object() => return None,
            Some(value) => return Some(bounded_text(&value)),
            None => object = raw::prototype(&object).filter(|object| !object.is_proxy())?,
        }
    }
    None
}

fn own_stack(error: &Value<'_>) -> Option<String> {
    raw::own_data(error, "stack").filter(Value::is_string).map(|stack| bounded_text(&stack))
}

/// The text of a primitive.
fn bounded_text(value: &Value<'_>) -> String {
    state::with(|state| match string_start(&state.primordials, value, MAX_ERROR_TEXT) {
        Some((start, _)) => text::lossy(&start),
        None => primitive_text(&state.primordials, value),
    })
}

impl<'js> Inspector<'_, 'js> {
    /// The text of an error, in brackets when it has no frames. Leaves in `keys` those that it
    /// does not tell, and adds those that tell why.
    pub(super) fn error(
        &mut self,
        value: &Value<'js>,
        names: &Names,
        keys: &mut Keys<'js>,
    ) -> String {
        let ErrorText { header, frames } = error_text(value);
        let own_stack = own_stack(value).filter(|stack| !stack.is_empty());
        // QuickJS's stacks have frames alone; one with anything else is a script's own.
        let stack = match own_stack {
            Some(stack) if !stack.starts_with(FRAME) => stack.trim_end_matches('\n').to_owned(),
            Some(_) => format!("{header}\n{frames}"),
            None => header,
        };
        keys.list.retain(|key| !told(value, key, &stack));
        for reason in REASONS {
            let is_reason = |key: &Value<'js>| {
                raw::string_bytes(key).is_some_and(|key| key == reason.as_bytes())
            };
            let shown = match raw::own_data(value, reason) {
                Some(errors) => reason != "errors" || errors.is_array(),
                None => false,
            };
            if shown && !keys.list.iter().any(is_reason) {
                keys.list.extend(reason.into_js(self.ctx));
            }
        }
        let name = inherited_text(value, "name").unwrap_or_else(|| "Error".to_owned());
        let stack = renamed(stack, &name, names);
        let message = inherited_text(value, "message").unwrap_or_default();
        let after_message = stack.find(&message).map_or(0, |at| at + message.len());
        let has_frames = stack[after_message..].contains(&format!("\n{FRAME}"));
        let stack = if has_frames { stack } else { format!("[{stack}]") };
        stack.replace('\n', &format!("\n{}", " ".repeat(self.indentation)))
    }
}

/// Whether a property says nothing that is not in the stack.
fn told(error: &Value<'_>, key: &Value<'_>, stack: &str) -> bool {
    let Some(name) = raw::string_bytes(key) else { return false };
    let Some(name) = TOLD.iter().find(|told| told.as_bytes() == name) else { return false };
    match raw::own_data(error, name) {
        Some(value) if !value.is_object() => stack.contains(&bounded_text(&value)),
        Some(_) | None => false,
    }
}

/// The stack under the name of the error's class, when that says more than its `name`.
fn renamed(stack: String, name: &str, names: &Names) -> String {
    let follows = |len: usize| matches!(stack.as_bytes().get(len), None | Some(b':' | b'\n'));
    let told = match names.constructor {
        Some(_) if name.ends_with("Error") && stack.starts_with(name) && follows(name.len()) => {
            name.len()
        }
        Some(_) => return stack,
        None => {
            let end = stack.find(':').or_else(|| stack.find('\n')).unwrap_or(stack.len());
            if stack.starts_with(|c: char| c.is_ascii_uppercase()) { end } else { 0 }
        }
    };
    let prefix = names.prefix(None);
    let prefix = prefix.trim_end();
    if name == prefix {
        stack
    } else if !prefix.contains(name) {
        format!("{prefix} [{name}]{}", &stack[told..])
    } else if told == 0 {
        format!("{prefix}: {stack}")
    } else {
        format!("{prefix}{}", &stack[told..])
    }
}
