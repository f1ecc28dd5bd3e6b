//! From QuickJS's bytes to UTF-8: its strings may hold lone surrogates, which UTF-8 cannot.

/// A piece of a decoded string.
pub(crate) enum Piece<'a> {
    /// Valid text.
    Text(&'a str),
    /// A lone surrogate.
    Surrogate(u16),
}

/// Splits QuickJS's bytes into valid text and lone surrogates.
pub(crate) fn pieces(mut bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => {
                pieces.push(Piece::Text(text));
                break;
            }
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = bytes.split_at(valid);
        if let Ok(text) = std::str::from_utf8(text)
            && !text.is_empty()
        {
            pieces.push(Piece::Text(text));
        }
        // A surrogate U+D800..U+DFFF is ED A0..BF 80..BF.
        if let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] = *rest {
            let unit = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
            pieces.push(Piece::Surrogate(unit));
            bytes = &rest[3..];
        } else {
            pieces.push(Piece::Surrogate(0xFFFD));
            bytes = &rest[1..];
        }
    }
    pieces
}

/// The text with every lone surrogate replaced by U+FFFD.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len());
    for piece in pieces(bytes) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Surrogate(_) => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    out
}
