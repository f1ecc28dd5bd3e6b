//! Running what a script gives: its statements are prepared, bound and stepped through.
//!
//! Invariant: an answer never grows past its bounds: what would pass them ends the statement, and is not
//! copied first.

use super::wire::{Asked, Params, encode, encode_bytes, encoded_len};
use super::{Refused, codes};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, Rows, Statement};

/// What an answer may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What a script wants to know of its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// How much it changed; there may be several statements, if they take no parameters.
    Changes,
    /// Its rows.
    Rows,
}

/// Runs what is asked, and puts what it comes to behind an answer.
pub(super) fn run(
    connection: &Connection,
    asked: &Asked<'_>,
    wanted: Wanted,
    bounds: Bounds,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut batch = Batch::new(connection, asked.sql);
    let mut changes = 0_u64;
    let mut is_first = true;
    while let Some(mut statement) = batch.next().map_err(|error| Refused::of_sqlite(&error))? {
        let is_alone = wanted == Wanted::Rows || !asked.params.is_empty();
        if is_alone && (!is_first || has_more(&mut batch)?) {
            return Err(misused("only one statement may be given with parameters, or to query"));
        }
        is_first = false;
        bind(&mut statement, &asked.params)?;
        if wanted == Wanted::Rows {
            return rows(&mut statement, bounds, answer);
        }
        let before = connection.total_changes();
        let mut steps = statement.raw_query();
        while steps.next().map_err(|error| Refused::of_sqlite(&error))?.is_some() {}
        if connection.total_changes() != before {
            changes += connection.changes();
        }
    }
    if is_first && (wanted == Wanted::Rows || !asked.params.is_empty()) {
        return Err(misused("there is no statement"));
    }
    if wanted == Wanted::Changes {
        answer.extend_from_slice(&changes.to_le_bytes());
        answer.extend_from_slice(&connection.last_insert_rowid().to_le_bytes());
    }
    Ok(())
}

/// Whether a statement follows. One that cannot be prepared is one, too.
fn has_more(batch: &mut Batch<'_, '_>) -> Result<bool, Refused> {
    batch.next().map(|next| next.is_some()).map_err(|error| Refused::of_sqlite(&error))
}

fn bind(statement: &mut Statement<'_>, params: &Params<'_>) -> Result<(), Refused> {
    let expected = statement.parameter_count();
    let refused = |error: rusqlite::Error| Refused::of_sqlite(&error);
    match params {
        Params::InOrder(values) => {
            if values.len() != expected {
                let given = values.len();
                let reason =
                    format!("the statement takes {expected} parameters, and {given} are given");
                return Err(Refused::new(codes::RANGE, reason));
            }
            for (index, value) in values.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, value).map_err(refused)?;
            }
        }
        Params::Named(values) => {
            let mut bound = vec![false; expected];
            for (name, value) in values {
                let index = [':', '@', '$'].into_iter().find_map(|sign| {
                    statement.parameter_index(&format!("{sign}{name}")).ok().flatten()
                });
                let Some(index) = index else {
                    let reason = format!("the statement has no parameter '{name}'");
                    return Err(Refused::new(codes::RANGE, reason));
                };
                statement.raw_bind_parameter(index, value).map_err(refused)?;
                bound[index - 1] = true;
            }
            if let Some(missing) = bound.iter().position(|bound| !bound) {
                let name = statement.parameter_name(missing + 1).unwrap_or("?").to_owned();
                return Err(Refused::new(
                    codes::RANGE,
                    format!("the parameter '{name}' is missing"),
                ));
            }
        }
    }
    Ok(())
}

/// Steps through the rows.
fn rows(
    statement: &mut Statement<'_>,
    bounds: Bounds,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let columns = statement.column_count();
    let count = u32::try_from(columns).expect("checked by the limit of columns");
    answer.extend_from_slice(&count.to_le_bytes());
    for name in statement.column_names() {
        encode_bytes(name.as_bytes(), answer);
    }
    // Names come from the statement, whose length is bounded.
    fill(statement.raw_query(), columns, bounds, answer)
}

fn fill(
    mut rows: Rows<'_>,
    columns: usize,
    bounds: Bounds,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let refused = |error: rusqlite::Error| Refused::of_sqlite(&error);
    let mut count = 0;
    while let Some(row) = rows.next().map_err(refused)? {
        if columns > 0 && count == bounds.rows {
            return Err(Refused::new("ENOBUFS", format!("there are more than {count} rows")));
        }
        count += 1;
        for column in 0..columns {
            let value = row.get_ref(column).map_err(refused)?;
            if (answer.len() + encoded_len(value)) as u64 > bounds.bytes {
                let reason = format!("the rows have more than {} bytes", bounds.bytes);
                return Err(Refused::new("ENOBUFS", reason));
            }
            encode(value, answer);
        }
    }
    Ok(())
}

fn misused(reason: &str) -> Refused {
    Refused::new(codes::MISUSE, reason.to_owned())
}
