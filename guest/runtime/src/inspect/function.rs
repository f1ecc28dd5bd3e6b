//! Functions and classes: `[Function: f]`, `[class A extends B]`.

use super::Inspector;
use super::layout::Body;
use crate::{raw, text};
use javy::quickjs::Value;

impl<'js> Inspector<'_, 'js> {
    pub(super) fn function(&mut self, value: &Value<'js>) -> Body {
        let name = raw::own_data(value, "name").and_then(|name| raw::string_bytes(&name));
        let name = name.filter(|name| !name.is_empty()).map(|name| text::lossy(&name));
        let source = self.primordials.function_source.text(value).unwrap_or_default();
        if source.starts_with("class") && source.ends_with('}') {
            return Body::based(self.class_text(value, name));
        }
        let kind = self.constructor_name(value);
        let kind = match kind.as_deref() {
            Some(
                kind @ ("AsyncFunction" | "GeneratorFunction" | "AsyncGeneratorFunction" | "Function"),
            ) => kind,
            Some(_) => "Function",
            None => "Function (null prototype)",
        };
        Body::based(match name {
            Some(name) => format!("[{kind}: {name}]"),
            None => format!("[{kind} (anonymous)]"),
        })
    }

    fn class_text(&self, value: &Value<'js>, name: Option<String>) -> String {
        let name = name.unwrap_or_else(|| "(anonymous)".to_owned());
        let parent = raw::prototype(value)
            .and_then(|parent| raw::own_data(&parent, "name"))
            .and_then(|name| raw::string_bytes(&name))
            .filter(|name| !name.is_empty());
        match parent {
            Some(parent) => format!("[class {name} extends {}]", text::lossy(&parent)),
            None => format!("[class {name}]"),
        }
    }
}
