//! Stripping: what is type becomes blanks, so that all that is left stays on its line and column.
//!
//! Invariant: a text that is given has the lines of its source, and each character of the source that
//! is left is in the column that it was in, counted as JavaScript counts.

use crate::imports::mark_types;
use swc_common::input::StringInput;
use swc_common::sync::Lrc;
use swc_common::{BytePos, FileName, SourceFile, SourceMap, Spanned};
use swc_ecma_ast::{EsVersion, Program};
use swc_ecma_parser::lexer::Lexer;
use swc_ecma_parser::unstable::{Capturing, TokenAndSpan};
use swc_ecma_parser::{Parser, Syntax, TsSyntax};

/// Bytes of a sentence that says what is wrong.
const MAX_MESSAGE_BYTES: usize = 512;

/// Why a source is not stripped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in UTF-16 units.
    pub(crate) column: u32,
    pub(crate) message: String,
}

/// The source of a file without its types.
pub(crate) fn file(source: String) -> Result<String, Refused> {
    let files = SourceMap::default();
    let file = files.new_source_file(Lrc::new(FileName::Anon), source);
    let (mut program, tokens) = parsed(&file)?;
    mark_types(&mut program);
    let stripped = swc_ts_fast_strip::strip(&program, &file.src, file.start_pos, &tokens);
    match stripped {
        Ok(text) => Ok(text.into_owned()),
        Err(errors) => {
            let first = errors.iter().min_by_key(|error| error.span.lo);
            let (at, message) =
                first.map_or((file.start_pos, ""), |error| (error.span.lo, error.message()));
            Err(refused(&file, at, message))
        }
    }
}

/// A line of a REPL without its types. One that is an object literal alone is one, as it is to who
/// evaluates it, unless that is not its syntax.
pub(crate) fn line(source: String) -> Result<String, Refused> {
    if source.trim_start().starts_with('{') && !source.trim_end().ends_with(';') {
        let object = file(format!("({source}\n)"));
        let inner = object
            .ok()
            .and_then(|text| Some(text.strip_prefix('(')?.strip_suffix("\n)")?.to_owned()));
        if let Some(inner) = inner {
            return Ok(inner);
        }
    }
    file(source)
}

fn parsed(file: &SourceFile) -> Result<(Program, Vec<TokenAndSpan>), Refused> {
    let syntax = Syntax::Typescript(TsSyntax { decorators: true, ..TsSyntax::default() });
    let lexer = Lexer::new(syntax, EsVersion::latest(), StringInput::from(file), None);
    let mut parser = Parser::new_from(Capturing::new(lexer));
    let program = parser.parse_program();
    let mut errors = parser.take_errors();
    match program {
        Ok(program) if errors.is_empty() => {
            return Ok((program, parser.input_mut().iter_mut().take()));
        }
        Ok(_) => {}
        Err(error) => errors.push(error),
    }
    let first = errors.iter().min_by_key(|error| error.span().lo);
    let (at, message) = first.map_or((file.start_pos, "invalid syntax".into()), |error| {
        (error.span().lo, error.kind().msg())
    });
    Err(refused(file, at, &message))
}

fn refused(file: &SourceFile, at: BytePos, message: &str) -> Refused {
    let offset = at.0.saturating_sub(file.start_pos.0) as usize;
    let before = file.src.get(..offset).unwrap_or(&file.src);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[start..].encode_utf16().count() + 1;
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    let message = message.lines().next().unwrap_or_default();
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    Refused { line: number(line), column: number(column), message: message[..end].to_owned() }
}
