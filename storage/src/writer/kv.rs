//! What a commit does to its workspace's keys.
//!
//! Invariant: what is written is what was checked, in the same transaction; what a workspace's row says
//! it holds is what its rows come to.

use crate::database::Fault;
use crate::error::StorageError;
use crate::kv::{KvCommit, KvUsage, Row, Stored, row_key};
use crate::tables::Tables;
use redb::ReadableTable;

/// The row of `totals` with the number of the last commit that changed a workspace.
const REVISION: &str = "kv_revision";

/// A commit's part that was checked.
pub(super) struct CheckedKv {
    commit: KvCommit,
    /// Of the workspace, if it has one.
    number: Option<u64>,
    /// What the workspace will hold.
    after: KvUsage,
}

impl CheckedKv {
    /// Refuses what depends on what is not so any more, and what the workspace has no room for.
    pub(super) fn of(tables: &Tables<'_>, commit: KvCommit) -> Result<Self, Fault> {
        let workspace = Stored::find(&tables.kv_workspaces, &commit.workspace)?;
        commit.reads.check(&workspace, &tables.kv)?;
        let (number, before) = (workspace.number, workspace.usage);
        let mut after = before;
        for (key, value) in &commit.writes {
            let replaced = workspace.read(&tables.kv, key, |row| row.value.len() as u64)?;
            after.replace(key, replaced, value.as_ref().map(|value| value.len() as u64));
        }
        if !after.may_follow(&before, &commit.quota) {
            let KvCommit { workspace, quota, .. } = commit;
            return Err(StorageError::KvQuotaExceeded { workspace, after, quota }.into());
        }
        Ok(Self { commit, number, after })
    }

    /// Writes it.
    pub(super) fn apply(self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        let KvCommit { workspace, writes, .. } = self.commit;
        if writes.is_empty() {
            return Ok(());
        }
        let version = tables.totals.get(REVISION)?.map_or(0, |last| last.value()) + 1;
        tables.totals.insert(REVISION, version)?;
        let number = self.number.unwrap_or(version);
        for (key, value) in writes {
            let key = row_key(number, &key);
            match value {
                Some(value) => {
                    let row = Row { version, value: &value }.encode();
                    tables.kv.insert(key.as_slice(), row.as_slice())?;
                }
                None => drop(tables.kv.remove(key.as_slice())?),
            }
        }
        if self.after.keys == 0 {
            tables.kv_workspaces.remove(workspace.as_str())?;
        } else {
            let KvUsage { bytes, keys } = self.after;
            tables.kv_workspaces.insert(workspace.as_str(), (number, version, bytes, keys))?;
        }
        Ok(())
    }
}
