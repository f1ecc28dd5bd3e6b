//! Bytes of records in the store, kept beside them so that nobody has to count.
//!
//! Invariant: the totals are written in the transaction that changes what they count.

use crate::database::Fault;
use crate::tables::Tables;
use redb::{ReadableTable, Table};

/// Bytes of records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) executions: Bytes,
    pub(crate) events: Bytes,
    pub(crate) heaps: Bytes,
}

/// How many bytes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    /// A record of one size took the place of one of another.
    pub(crate) fn replace(&mut self, before: usize, after: usize) {
        self.0 = (self.0 + after as u64).saturating_sub(before as u64);
    }
}

const EXECUTIONS: &str = "execution_bytes";
const EVENTS: &str = "event_bytes";
const HEAPS: &str = "heap_bytes";

impl Totals {
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Self, Fault> {
        let get = |name| Ok::<_, Fault>(Bytes(table.get(name)?.map_or(0, |bytes| bytes.value())));
        Ok(Self { executions: get(EXECUTIONS)?, events: get(EVENTS)?, heaps: get(HEAPS)? })
    }

    pub(crate) fn write(&self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        let before = Self::read(&tables.totals)?;
        let put = |table: &mut Table<'_, &'static str, u64>, name, before: Bytes, after: Bytes| {
            if before != after {
                table.insert(name, after.0)?;
            }
            Ok::<_, Fault>(())
        };
        put(&mut tables.totals, EXECUTIONS, before.executions, self.executions)?;
        put(&mut tables.totals, EVENTS, before.events, self.events)?;
        put(&mut tables.totals, HEAPS, before.heaps, self.heaps)
    }
}
