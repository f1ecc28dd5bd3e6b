//! What the guest and the host say to each other of statements: bytes, and nothing that has to be
//! trusted.
//!
//! ```text
//!  asked:    heap (4) | length (4) SQL | count (4) | names (1) | parameters: [length (4) name] value …
//!  exec:     changed (1) | changes (8) | last row's id (8)
//!  query:    changed (1) | columns (4) | names: length (4) text … | values, row by row …
//!  a value:  0 | 1 integer (8) | 2 double (8) | 3 length (4) text | 4 length (4) bytes
//! ```
//!
//! `heap` is how long the database in memory is that the guest keeps; `changed`, whether it has to be
//! taken again. Numbers are little-endian.
//!
//! Invariant: what was decoded lies within the bytes that were given, and all of them were used.

use rusqlite::types::{ToSqlOutput, ValueRef};

/// A statement that a script gives.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    heap_bytes: usize,
    pub(super) sql: &'a str,
    pub(super) params: Params<'a>,
}

/// What stands for the question marks in it.
#[derive(Debug)]
pub(super) enum Params<'a> {
    InOrder(Vec<Param<'a>>),
    Named(Vec<(&'a str, Param<'a>)>),
}

/// One value of a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param<'a>(ValueRef<'a>);

/// The bytes are not what a guest of ours sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statement is malformed")]
pub(crate) struct Malformed;

impl<'a> Asked<'a> {
    /// Decodes what a guest asks.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let heap_bytes = reader.len()?;
        let sql = reader.text()?;
        let count = reader.len()?;
        let named = reader.byte()?;
        let params = match named {
            0 => Params::InOrder(reader.many(count, Reader::param)?),
            1 => Params::Named(reader.many(count, |reader| Ok((reader.text()?, reader.param()?)))?),
            _ => return Err(Malformed),
        };
        if reader.0.is_empty() { Ok(Self { heap_bytes, sql, params }) } else { Err(Malformed) }
    }
}

impl Asked<'_> {
    /// Bytes of the database in memory that the session's heap has.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The text of the statement.
    pub(crate) fn sql(&self) -> &str {
        self.sql
    }
}

impl Params<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::InOrder(params) => params.is_empty(),
            Self::Named(params) => params.is_empty(),
        }
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// The bytes that are not decoded yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn len(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_le_bytes(self.take()?)).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.len()?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    fn param(&mut self) -> Result<Param<'a>, Malformed> {
        Ok(Param(match self.byte()? {
            0 => ValueRef::Null,
            1 => ValueRef::Integer(i64::from_le_bytes(self.take()?)),
            2 => ValueRef::Real(f64::from_le_bytes(self.take()?)),
            3 => ValueRef::Text(self.text()?.as_bytes()),
            4 => ValueRef::Blob(self.bytes()?),
            _ => return Err(Malformed),
        }))
    }

    /// As many as are said, each of which takes a byte at least.
    fn many<T>(
        &mut self,
        count: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        if count > self.0.len() {
            return Err(Malformed);
        }
        (0..count).map(|_| one(self)).collect()
    }
}

/// Bytes that a value takes.
pub(super) fn encoded_len(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 9,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => 5 + bytes.len(),
    }
}

/// Puts a value behind an answer.
pub(super) fn encode(value: ValueRef<'_>, answer: &mut Vec<u8>) {
    match value {
        ValueRef::Null => answer.push(0),
        ValueRef::Integer(number) => {
            answer.push(1);
            answer.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            answer.push(2);
            answer.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Text(bytes) => {
            answer.push(3);
            encode_bytes(bytes, answer);
        }
        ValueRef::Blob(bytes) => {
            answer.push(4);
            encode_bytes(bytes, answer);
        }
    }
}

/// Puts bytes behind an answer, with their length before them.
pub(super) fn encode_bytes(bytes: &[u8], answer: &mut Vec<u8>) {
    let len = u32::try_from(bytes.len()).expect("checked by the limit of SQLite's values");
    answer.extend_from_slice(&len.to_le_bytes());
    answer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Value;

    fn asked(params: &[u8]) -> Vec<u8> {
        let mut bytes = 7_u32.to_le_bytes().to_vec();
        encode_bytes(b"SELECT ?", &mut bytes);
        bytes.extend_from_slice(params);
        bytes
    }

    #[test]
    fn a_statement_is_decoded_whole_or_not_at_all() {
        let mut params = [2, 0, 0, 0, 0].to_vec();
        encode(ValueRef::Integer(-5), &mut params);
        encode(ValueRef::Blob(&[1, 2]), &mut params);
        let whole = asked(&params);
        let decoded = Asked::decode(&whole).unwrap();
        assert_eq!((decoded.heap_bytes, decoded.sql), (7, "SELECT ?"));
        let Params::InOrder(values) = decoded.params else { panic!("they have no names") };
        let values: Vec<Value> =
            values.iter().map(|param| Value::try_from(param.0).unwrap()).collect();
        assert_eq!(values, [Value::Integer(-5), Value::Blob(vec![1, 2])]);
        for cut in 0..whole.len() {
            assert_eq!(Asked::decode(&whole[..cut]).unwrap_err(), Malformed, "{cut}");
        }
        Asked::decode(&[whole, vec![0]].concat()).unwrap_err();
        let wrong: [&[u8]; 6] = [
            &[1, 0, 0, 0, 2, 0],
            &[1, 0, 0, 0, 0, 5],
            &[255, 255, 255, 255, 0, 0],
            &[1, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0xff],
            &[1, 0, 0, 0, 0, 4, 255, 255, 255, 255, 0],
            &[1, 0, 0, 0, 1, 0],
        ];
        for params in wrong {
            assert_eq!(Asked::decode(&asked(params)).unwrap_err(), Malformed, "{params:?}");
        }
    }
}
