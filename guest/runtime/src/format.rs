//! The text of a console call: `%` directives of the first argument, then the other arguments,
//! strings bare and everything else inspected.

use crate::inspect::{Inspector, primitive_text};
use crate::{raw, state, text};
use javy::quickjs::{Ctx, Value};

/// Formats the arguments of one console call.
pub(crate) fn console_text<'js>(ctx: &Ctx<'js>, args: &[Value<'js>]) -> String {
    state::with(|state| {
        let mut formatter = Formatter { inspector: Inspector::new(ctx, &state.primordials), args };
        formatter.text()
    })
}

struct Formatter<'a, 'js> {
    inspector: Inspector<'a, 'js>,
    /// The arguments not used yet.
    args: &'a [Value<'js>],
}

impl<'a, 'js> Formatter<'a, 'js> {
    fn text(&mut self) -> String {
        let mut out = String::new();
        if let [first, rest @ ..] = self.args
            && let Some(template) = raw::string_bytes(first)
        {
            self.args = rest;
            let template = text::lossy(&template);
            out = if rest.is_empty() { template } else { self.directives(&template) };
            if !self.args.is_empty() {
                out.push(' ');
            }
        }
        let rest: Vec<_> = std::mem::take(&mut self.args).iter().map(|arg| self.bare(arg)).collect();
        out.push_str(&rest.join(" "));
        out
    }

    fn directives(&mut self, template: &str) -> String {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('%') {
            let (before, directive) = rest.split_at(at);
            out.push_str(before);
            let letter = directive.as_bytes().get(1).copied();
            let known = matches!(letter, Some(b's' | b'd' | b'i' | b'f' | b'j' | b'o' | b'O' | b'c'));
            if letter == Some(b'%') {
                out.push('%');
                rest = &directive[2..];
            } else if let (true, [arg, args @ ..]) = (known, self.args) {
                self.args = args;
                out.push_str(&self.directive(letter.unwrap_or_default(), arg));
                rest = &directive[2..];
            } else {
                out.push('%');
                rest = &directive[1..];
            }
        }
        out + rest
    }

    fn directive(&mut self, letter: u8, arg: &Value<'js>) -> String {
        match letter {
            b's' if arg.is_object() && !arg.is_error() => self.nested(arg, 0),
            b's' => self.bare(arg),
            b'd' if arg.is_big_int() => self.bare(arg),
            b'd' => number_text(self.number(arg)),
            b'i' if arg.is_big_int() => self.bare(arg),
            b'i' => number_text(self.leading_number(arg, false).trunc()),
            b'f' => number_text(self.leading_number(arg, true)),
            b'j' => self.json(arg),
            b'o' => self.nested(arg, 4),
            b'O' => self.nested(arg, crate::inspect::MAX_DEPTH),
            _ => String::new(),
        }
    }

    fn bare(&mut self, arg: &Value<'js>) -> String {
        if arg.is_string() {
            return state::with(|state| primitive_text(&state.primordials, arg));
        }
        self.inspector.value(arg)
    }

    fn nested(&mut self, arg: &Value<'js>, depth: usize) -> String {
        state::with(|state| {
            Inspector::new(arg.ctx(), &state.primordials).with_depth(depth).value(arg)
        })
    }

    /// `Number(arg)` for a primitive; an object counts as no number, since converting it would run
    /// user code.
    #[expect(clippy::unused_self, reason = "reads as one of the formatter's steps")]
    fn number(&self, arg: &Value<'js>) -> f64 {
        if let Some(number) = arg.as_number() {
            return number;
        }
        if let Some(boolean) = arg.as_bool() {
            return f64::from(u8::from(boolean));
        }
        if arg.is_null() {
            return 0.0;
        }
        match raw::string_bytes(arg).map(|bytes| text::lossy(&bytes)) {
            Some(text) if text.trim().is_empty() => 0.0,
            Some(text) => parse_number(text.trim()).unwrap_or(f64::NAN),
            None => f64::NAN,
        }
    }

    /// `parseInt` or `parseFloat`.
    fn leading_number(&self, arg: &Value<'js>, fraction: bool) -> f64 {
        let Some(bytes) = raw::string_bytes(arg) else {
            return if arg.is_number() { self.number(arg) } else { f64::NAN };
        };
        let text = text::lossy(&bytes);
        let text = text.trim_start();
        let is_part = |c: char| c.is_ascii_digit() || c == '-' || c == '+' || (fraction && matches!(c, '.' | 'e' | 'E'));
        let mut end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        // The longest prefix that is a number, as `1-2` and `1e` start with one.
        while end > 0 {
            if let Some(number) = parse_number(&text[..end]) {
                return number;
            }
            end -= 1;
        }
        f64::NAN
    }

    #[expect(clippy::unused_self, reason = "reads as one of the formatter's steps")]
    fn json(&self, arg: &Value<'js>) -> String {
        let shown = state::with(|state| {
            let stringify = state.primordials.json_stringify.restore(arg.ctx())?;
            let value: Result<Value, _> = stringify.call((arg.clone(),));
            if value.is_err() {
                arg.ctx().catch();
                return Some("[Circular]".to_owned());
            }
            raw::string_bytes(&value.ok()?).map(|bytes| text::lossy(&bytes))
        });
        shown.unwrap_or_else(|| "undefined".to_owned())
    }
}

fn parse_number(text: &str) -> Option<f64> {
    // Rust reads `inf`, `nan` and their like, JavaScript only `Infinity`.
    if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) {
        return match text {
            "Infinity" | "+Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        };
    }
    text.parse().ok()
}

fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if number == 0.0 && number.is_sign_negative() {
        return "-0".to_owned();
    }
    format!("{number}")
}
