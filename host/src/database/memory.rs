//! Files that are in memory alone: a session's own database, and what SQLite puts aside.
//!
//! Invariant: none grows past its bound, which is a full disk to SQLite. A database knows which of its
//! blocks were changed since they were last taken.

use super::place::Code;
use rusqlite::ffi;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a block: a page of SQLite's and of the session's heap.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Bytes of the temporary files of one connection: what sorting some hundred thousand rows takes.
pub(crate) const MAX_SCRATCH_BYTES: u64 = 32 << 20;

/// A database in memory.
#[derive(Debug)]
pub(super) struct MemoryFile {
    bytes: Vec<u8>,
    /// Of each block, whether it was changed.
    changed: Vec<bool>,
    max_bytes: usize,
}

impl MemoryFile {
    /// An empty one.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), changed: Vec::new(), max_bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Puts behind what it holds a part that was kept of it.
    pub(super) fn restore(&mut self, part: &[u8]) -> Result<(), Code> {
        if part.len() > self.max_bytes.saturating_sub(self.bytes.len()) {
            return Err(ffi::SQLITE_FULL);
        }
        self.bytes.extend_from_slice(part);
        self.changed.resize(self.bytes.len().div_ceil(BLOCK_BYTES), false);
        Ok(())
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..));
        let there = there.unwrap_or_default();
        let len = there.len().min(buffer.len());
        buffer[..len].copy_from_slice(&there[..len]);
        len
    }

    pub(super) fn write(&mut self, buffer: &[u8], offset: u64) -> Result<(), Code> {
        let offset = usize::try_from(offset).map_err(|_| ffi::SQLITE_FULL)?;
        let end = offset.checked_add(buffer.len()).filter(|end| *end <= self.max_bytes);
        let end = end.ok_or(ffi::SQLITE_FULL)?;
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
            self.changed.resize(end.div_ceil(BLOCK_BYTES), true);
        }
        self.bytes[offset..end].copy_from_slice(buffer);
        self.changed[offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)].fill(true);
        Ok(())
    }

    pub(super) fn truncate(&mut self, size: u64) -> Result<(), Code> {
        let size = usize::try_from(size).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)?;
        if size < self.bytes.len() {
            self.bytes.truncate(size);
            self.changed.truncate(size.div_ceil(BLOCK_BYTES));
        }
        Ok(())
    }

    /// Whether a block was changed since they were taken. One that only became shorter was changed
    /// where it says its length.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.contains(&true)
    }

    /// What was changed, as it is told: the length of all, and the blocks, each behind its number.
    pub(super) fn take_changes(&mut self) -> Vec<u8> {
        let count = self.changed.iter().filter(|changed| **changed).count();
        let mut told = Vec::with_capacity(4 + count * (4 + BLOCK_BYTES));
        told.extend_from_slice(&number(self.bytes.len()));
        for (index, block) in self.bytes.chunks(BLOCK_BYTES).enumerate() {
            if std::mem::take(&mut self.changed[index]) {
                told.extend_from_slice(&number(index));
                told.extend_from_slice(block);
            }
        }
        told
    }
}

/// A number as it is told, in four bytes.
fn number(number: usize) -> [u8; 4] {
    u32::try_from(number)
        .expect("checked by the bound: a database in memory is small")
        .to_le_bytes()
}

/// A temporary file.
#[derive(Debug)]
pub(super) struct Scratch {
    blocks: Vec<Option<Box<[u8]>>>,
    size: u64,
    /// Bytes of all that the connection has.
    used: Arc<AtomicU64>,
}

/// Bytes of a block of a temporary file: few allocations, and little that is not used.
const SCRATCH_BLOCK_BYTES: usize = 64 << 10;

impl Scratch {
    pub(super) fn new(used: Arc<AtomicU64>) -> Self {
        Self { blocks: Vec::new(), size: 0, used }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = self.size.saturating_sub(offset);
        let len = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < len {
            let (index, start) = split(offset + done as u64);
            let part = (len - done).min(SCRATCH_BLOCK_BYTES - start);
            match self.blocks.get(index).and_then(Option::as_ref) {
                Some(block) => {
                    buffer[done..done + part].copy_from_slice(&block[start..start + part]);
                }
                None => buffer[done..done + part].fill(0),
            }
            done += part;
        }
        len
    }

    pub(super) fn write(&mut self, buffer: &[u8], offset: u64) -> Result<(), Code> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= MAX_SCRATCH_BYTES);
        let end = end.ok_or(ffi::SQLITE_FULL)?;
        let mut done = 0;
        while done < buffer.len() {
            let (index, start) = split(offset + done as u64);
            let part = (buffer.len() - done).min(SCRATCH_BLOCK_BYTES - start);
            let block = self.block(index)?;
            block[start..start + part].copy_from_slice(&buffer[done..done + part]);
            done += part;
        }
        self.size = self.size.max(end);
        Ok(())
    }

    /// A block that may be written.
    fn block(&mut self, index: usize) -> Result<&mut [u8], Code> {
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, || None);
        }
        let slot = &mut self.blocks[index];
        if slot.is_none() {
            let bytes = SCRATCH_BLOCK_BYTES as u64;
            if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_SCRATCH_BYTES {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                return Err(ffi::SQLITE_FULL);
            }
            *slot = Some(vec![0; SCRATCH_BLOCK_BYTES].into_boxed_slice());
        }
        Ok(slot.as_mut().expect("checked above"))
    }

    pub(super) fn truncate(&mut self, size: u64) {
        if size >= self.size {
            return;
        }
        let (index, start) = split(size);
        let kept = if start == 0 { index } else { index + 1 };
        let freed = self.blocks.iter().skip(kept).filter(|block| block.is_some()).count();
        self.blocks.truncate(kept);
        self.used.fetch_sub((freed * SCRATCH_BLOCK_BYTES) as u64, Ordering::Relaxed);
        if start > 0
            && let Some(Some(block)) = self.blocks.last_mut()
        {
            block[start..].fill(0);
        }
        self.size = size;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let held = self.blocks.iter().filter(|block| block.is_some()).count();
        self.used.fetch_sub((held * SCRATCH_BLOCK_BYTES) as u64, Ordering::Relaxed);
    }
}

/// The block of an offset, and where it is in that.
fn split(offset: u64) -> (usize, usize) {
    let block = SCRATCH_BLOCK_BYTES as u64;
    let index = usize::try_from(offset / block).expect("checked by the bound of a file");
    (index, usize::try_from(offset % block).expect("checked by the block's length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_in_memory_tells_what_changed_and_takes_it_back() {
        let mut file = MemoryFile::new(5 * BLOCK_BYTES);
        file.write(&[1; 3 * BLOCK_BYTES], 0).unwrap();
        assert_eq!(file.take_changes().len(), 4 + 3 * (4 + BLOCK_BYTES));
        assert!(!file.is_changed());
        file.write(&[2; 10], BLOCK_BYTES as u64 + 5).unwrap();
        let told = file.take_changes();
        assert_eq!(told[..4], (3 * 4096_u32).to_le_bytes());
        assert_eq!(told[4..8], 1_u32.to_le_bytes());
        assert_eq!(told.len(), 8 + BLOCK_BYTES);
        assert_eq!(file.write(&[0; 2], (5 * BLOCK_BYTES - 1) as u64), Err(ffi::SQLITE_FULL));

        let mut restored = MemoryFile::new(3 * BLOCK_BYTES);
        for part in file.bytes().chunks(5_000) {
            restored.restore(part).unwrap();
        }
        assert_eq!(restored.bytes(), file.bytes());
        assert!(!restored.is_changed());
        assert_eq!(restored.restore(&[0]), Err(ffi::SQLITE_FULL));
    }

    #[test]
    fn temporary_files_of_a_connection_share_one_bound() {
        let used = Arc::new(AtomicU64::new(0));
        let (mut first, mut second) = (Scratch::new(used.clone()), Scratch::new(used.clone()));
        let half = vec![7; usize::try_from(MAX_SCRATCH_BYTES / 2).unwrap()];
        first.write(&half, 0).unwrap();
        second.write(&half, 0).unwrap();
        assert_eq!(second.write(&[1], MAX_SCRATCH_BYTES / 2), Err(ffi::SQLITE_FULL));
        assert_eq!(first.write(&[1], u64::MAX - 1), Err(ffi::SQLITE_FULL));
        drop(first);
        second.write(&[1], MAX_SCRATCH_BYTES / 2 + 70_000).unwrap();
        let mut read = [9; 3];
        assert_eq!(second.read(&mut read, MAX_SCRATCH_BYTES / 2 + 69_999), 2);
        assert_eq!(read, [0, 1, 9]);
        second.truncate(10);
        second.write(&[1], 20).unwrap();
        let mut read = [9; 12];
        assert_eq!(second.read(&mut read, 9), 12);
        assert_eq!(read, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        drop(second);
        assert_eq!(used.load(Ordering::Relaxed), 0);
    }
}
