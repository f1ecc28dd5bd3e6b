//! The text of a console call: `%` directives of the first argument, then the other arguments,
//! strings bare and everything else inspected.

use crate::inspect::{Inspector, MAX_BARE, error_text, primitive_text};
use crate::primordials::{Primordial, Primordials};
use crate::state;
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
            && first.is_string()
        {
            self.args = rest;
            let template = state::with(|state| primitive_text(&state.primordials, first));
            out = if rest.is_empty() { template } else { self.directives(&template) };
            if !self.args.is_empty() {
                out.push(' ');
            }
        }
        for (index, arg) in std::mem::take(&mut self.args).iter().enumerate() {
            if is_too_much(&out) {
                break;
            }
            if index > 0 {
                out.push(' ');
            }
            out.push_str(&self.bare(arg));
        }
        out
    }

    fn directives(&mut self, template: &str) -> String {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('%') {
            let (before, directive) = rest.split_at(at);
            out.push_str(before);
            if is_too_much(&out) {
                return out;
            }
            let letter = directive.as_bytes().get(1).copied();
            let known =
                matches!(letter, Some(b's' | b'd' | b'i' | b'f' | b'j' | b'o' | b'O' | b'c'));
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
        let primordials = |convert: fn(&Primordials) -> &Primordial| {
            state::with(|state| number_text(&state.primordials, convert(&state.primordials), arg))
        };
        match letter {
            b's' if arg.is_function() && !arg.is_proxy() => source_text(arg),
            b's' if arg.is_object() => self.nested(arg, 0),
            b's' => self.bare(arg),
            b'd' | b'i' if arg.is_big_int() => self.bare(arg),
            b'd' => primordials(|all| &all.to_number),
            b'i' => primordials(|all| &all.parse_int),
            b'f' => primordials(|all| &all.parse_float),
            b'j' => json_text(arg),
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
}

/// Whether a text is more than the host takes, so that no more of it need be made.
fn is_too_much(out: &str) -> bool {
    out.len() >= MAX_BARE as usize
}

/// What a conversion to a number gives; an object counts as no number, since converting it would
/// run user code, and a symbol is none.
fn number_text(all: &Primordials, convert: &Primordial, arg: &Value<'_>) -> String {
    if arg.is_object() || arg.is_symbol() {
        return "NaN".to_owned();
    }
    convert.of(arg).map_or_else(|| "NaN".to_owned(), |number| primitive_text(all, &number))
}

fn source_text(function: &Value<'_>) -> String {
    state::with(|state| {
        let source = state.primordials.function_source.call(function);
        source.map(|source| primitive_text(&state.primordials, &source)).unwrap_or_default()
    })
}

/// What `JSON.stringify` gives. Where it throws, an object in a circle is `[Circular]`, as Node
/// has it; anything else is the error in brackets, where Node would throw it.
fn json_text(arg: &Value<'_>) -> String {
    let stringify = state::with(|state| state.primordials.json_stringify.restore(arg.ctx()));
    let Some(stringify) = stringify else { return String::new() };
    match stringify.call::<_, Value>((arg.clone(),)) {
        Ok(json) => state::with(|state| primitive_text(&state.primordials, &json)),
        Err(_) => {
            let thrown = arg.ctx().catch();
            if !thrown.is_error() {
                return "[JSON]".to_owned();
            }
            let header = error_text(&thrown).header;
            if header.starts_with("TypeError: circular") {
                "[Circular]".to_owned()
            } else {
                format!("[{header}]")
            }
        }
    }
}
