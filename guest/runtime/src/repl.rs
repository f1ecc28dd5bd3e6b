//! Import declarations in a line of a REPL. A script cannot have any, so those at its start become
//! declarations of what a dynamic import gives:
//!
//! ```text
//!  import d, { a as b } from 'x' with { type: 'json' };
//!  const {default: d, a: b} = await import('x', {with: { type: 'json' }});
//! ```
//!
//! Invariant: what is none by its tokens is left as it is, for the engine to say what is wrong.

/// The line with its import declarations replaced; `None` when it begins with none.
pub(crate) fn with_imports_replaced(line: &str) -> Option<String> {
    let mut rest = Tokens(line);
    let mut replaced = String::new();
    loop {
        let before = rest;
        let Some(declaration) = rest.import_declaration() else {
            if replaced.is_empty() {
                return None;
            }
            replaced.push_str(before.0);
            return Some(replaced);
        };
        let taken = &before.0[..before.0.len() - rest.0.len()];
        replaced.push_str(&declaration);
        // Later lines keep their numbers.
        replaced.extend(taken.chars().filter(|c| *c == '\n'));
    }
}

/// What is left of a text.
#[derive(Clone, Copy)]
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn import_declaration(&mut self) -> Option<String> {
        self.keyword("import")?;
        if let Some(specifier) = self.string() {
            let call = self.call(specifier)?;
            return Some(format!("void {call};"));
        }
        let default = self.name();
        let more = default.is_none() || self.symbol(',').is_some();
        let (mut namespace, mut names) = (None, Vec::new());
        if more && self.symbol('*').is_some() {
            self.keyword("as")?;
            namespace = Some(self.name()?);
        } else if more {
            names = self.names()?;
        }
        self.keyword("from")?;
        let specifier = self.string()?;
        let call = self.call(specifier)?;
        if let Some(default) = default {
            names.insert(0, format!("default: {default}"));
        }
        let names = names.join(", ");
        Some(match namespace {
            None => format!("const {{{names}}} = {call};"),
            Some(namespace) => format!("const {namespace} = {call}, {{{names}}} = {namespace};"),
        })
    }

    /// The dynamic import of a declaration whose specifier was just taken, and its end.
    fn call(&mut self, specifier: &str) -> Option<String> {
        let mut attributes = "";
        let mut ahead = *self;
        if ahead.keyword("with").is_some() {
            ahead = ahead.past_space();
            let end = ahead.0.find('}')?;
            (attributes, ahead.0) = ahead.0.split_at(end + 1);
            *self = ahead;
        }
        let on_one_line = !self.past_blanks().0.starts_with(['\n', '\r']);
        let ended = self.symbol(';').is_some() || self.past_space().0.is_empty();
        if on_one_line && !ended {
            return None;
        }
        Some(if attributes.is_empty() {
            format!("await import({specifier})")
        } else {
            format!("await import({specifier}, {{with: {attributes}}})")
        })
    }

    fn names(&mut self) -> Option<Vec<String>> {
        self.symbol('{')?;
        let mut names = Vec::new();
        while self.symbol('}').is_none() {
            let name = self.string().or_else(|| self.name())?;
            let local = match self.keyword("as") {
                Some(()) => self.name()?,
                None => name,
            };
            names.push(format!("{name}: {local}"));
            if self.symbol(',').is_none() {
                self.symbol('}')?;
                break;
            }
        }
        Some(names)
    }

    /// Past white space and comments.
    fn past_space(self) -> Self {
        let mut rest = self.0.trim_start();
        loop {
            let comment = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else {
                return Self(rest);
            };
            rest = rest[comment..].trim_start();
        }
    }

    fn past_blanks(self) -> Self {
        Self(self.0.trim_start_matches([' ', '\t']))
    }

    fn symbol(&mut self, symbol: char) -> Option<()> {
        self.0 = self.past_space().0.strip_prefix(symbol)?;
        Some(())
    }

    fn keyword(&mut self, keyword: &str) -> Option<()> {
        let mut ahead = *self;
        (ahead.name()? == keyword).then(|| *self = ahead)
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.past_space().0;
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '\\');
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(len);
        let is_name = name.starts_with(|first: char| !first.is_ascii_digit());
        is_name.then(|| {
            self.0 = rest;
            name
        })
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let rest = self.past_space().0;
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = !escaped && *c == quote;
            escaped = !escaped && *c == '\\';
            ends
        });
        let (string, rest) = rest.split_at(end?.0 + 1);
        self.0 = rest;
        Some(string)
    }
}
