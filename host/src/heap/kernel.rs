//! Asks the kernel which pages of a memory were written: Linux 6.7's `PAGEMAP_SCAN` over ranges
//! that a userfaultfd write-protects asynchronously, so that a write costs one short fault in the
//! kernel and no signal.
//!
//! The kernel calls a page written when it is not write-protected, which takes it a nanosecond to
//! tell; a page that was never touched is one too until it is protected for the first time. Which
//! of them have bytes of this process takes another 20 nanoseconds, and is a question of its own.
//! So is protecting, because pages which every execution writes are best left writable. Constants
//! and layouts are those of `linux/userfaultfd.h` and `linux/fs.h`.
#![expect(unsafe_code, reason = "the one place that asks the kernel for dirty pages")]

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{Advice, UserfaultfdFlags, madvise, userfaultfd};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// Regions that one call of the kernel reports.
const REGIONS: usize = 512;

/// `UFFD_USER_MODE_ONLY`: what a process without privileges may have.
const USER_MODE_ONLY: u32 = 1;
const UFFD_API: u64 = 0xAA;
/// `UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC`.
const FEATURES: u64 = (1 << 13) | (1 << 15);
const REGISTER_MODE_WP: u64 = 1 << 1;
const WRITEPROTECT_MODE_WP: u64 = 1;

const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const SCAN_WRITE_PROTECT: u64 = 1;

#[repr(C)]
#[derive(Default)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// A call whose argument the kernel reads and writes, and whose result counts something.
struct Call<'a, T> {
    opcode: Opcode,
    argument: &'a mut T,
}

// SAFETY: every opcode below is made of the size of the structure that is its argument, which is
// borrowed for the length of the call.
unsafe impl<T> Ioctl for Call<'_, T> {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.argument).cast()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        usize::try_from(output).map_err(|_| rustix::io::Errno::INVAL)
    }
}

/// The kernel's two files through which pages are watched.
#[derive(Debug)]
pub(crate) struct PageWatch {
    userfaultfd: OwnedFd,
    pagemap: File,
}

impl PageWatch {
    /// Opens them, and sees on a page of its own that they work.
    ///
    /// # Errors
    /// When the kernel is too old, or a filter of system calls forbids it.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = UserfaultfdFlags::CLOEXEC
            | UserfaultfdFlags::NONBLOCK
            | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: it is used for write-protection alone, which no reader or writer of the memory
        // can tell but by time.
        let userfaultfd = unsafe { userfaultfd(flags) }?;
        let pagemap = File::open("/proc/self/pagemap")?;
        let watch = Self { userfaultfd, pagemap };
        let mut api = Api { version: UFFD_API, features: FEATURES, ioctls: 0 };
        watch.control(opcode::read_write::<Api>(0xAA, 0x3F), &mut api)?;
        watch.check()?;
        Ok(watch)
    }

    /// Sees that a write is found, once.
    fn check(&self) -> io::Result<()> {
        let mut memory = vec![0_u8; 3 * super::PAGE];
        let start = (memory.as_ptr() as usize).next_multiple_of(super::PAGE);
        let page = start - memory.as_ptr() as usize;
        let range = start..start + super::PAGE;
        self.register(range.clone())?;
        memory[page] = 1;
        let written = self.filled(range.clone())?;
        self.protect(range.clone())?;
        let protected = self.written(range.clone())?;
        memory[page] = 2;
        let again = self.written(range.clone())?;
        self.unregister(range.clone())?;
        if written == [range.clone()] && protected.is_empty() && again == [range] {
            Ok(())
        } else {
            Err(io::Error::other("the kernel does not find what was written"))
        }
    }

    /// Watches a range of addresses, whole pages of mappings that are there. Watching what is
    /// watched already changes nothing.
    pub(crate) fn register(&self, range: Range<usize>) -> io::Result<()> {
        let (start, len) = (range.start as u64, range.len() as u64);
        let mut register = Register { start, len, mode: REGISTER_MODE_WP, ioctls: 0 };
        self.control(opcode::read_write::<Register>(0xAA, 0), &mut register)
    }

    fn unregister(&self, range: Range<usize>) -> io::Result<()> {
        let mut range = [range.start as u64, range.len() as u64];
        self.control(opcode::read::<[u64; 2]>(0xAA, 1), &mut range)
    }

    /// The ranges of a watched range that were written, or never touched, since they were
    /// protected.
    pub(crate) fn written(&self, range: Range<usize>) -> io::Result<Vec<Range<usize>>> {
        self.scan(range, Scan { category_mask: PAGE_IS_WRITTEN, ..Scan::default() })
    }

    /// Of these, the ranges that have bytes of this process: neither those of a file nor zeroes
    /// that were only read.
    pub(crate) fn filled(&self, range: Range<usize>) -> io::Result<Vec<Range<usize>>> {
        let scan = Scan {
            category_mask: PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ..Scan::default()
        };
        self.scan(range, scan)
    }

    /// Protects all of a range that is not.
    pub(crate) fn protect_written(&self, range: Range<usize>) -> io::Result<()> {
        let flags = SCAN_WRITE_PROTECT;
        let scan = Scan { flags, category_mask: PAGE_IS_WRITTEN, ..Scan::default() };
        self.scan(range, scan).map(drop)
    }

    /// Protects a range.
    pub(crate) fn protect(&self, range: Range<usize>) -> io::Result<()> {
        let (start, len) = (range.start as u64, range.len() as u64);
        let mut protect = WriteProtect { start, len, mode: WRITEPROTECT_MODE_WP };
        self.control(opcode::read_write::<WriteProtect>(0xAA, 6), &mut protect)
    }

    fn scan(&self, range: Range<usize>, what: Scan) -> io::Result<Vec<Range<usize>>> {
        let mut regions = [Region::default(); REGIONS];
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut start = range.start as u64;
        while start < range.end as u64 {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                start,
                end: range.end as u64,
                vec: regions.as_mut_ptr() as u64,
                vec_len: REGIONS as u64,
                return_mask: PAGE_IS_WRITTEN,
                ..what
            };
            let call = Call { opcode: opcode::read_write::<Scan>(b'f', 16), argument: &mut scan };
            // SAFETY: the structure is the one this call takes; it names a buffer of `REGIONS`
            // entries that outlives the call. Protecting changes nothing that a program can see.
            let count = unsafe { ioctl(&self.pagemap, call) }?;
            for region in regions.iter().take(count) {
                let (start, end) = (address(region.start), address(region.end));
                match found.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    Some(_) | None => found.push(start..end),
                }
            }
            if scan.walk_end <= start {
                break;
            }
            start = scan.walk_end;
        }
        Ok(found)
    }

    fn control<T>(&self, opcode: Opcode, argument: &mut T) -> io::Result<()> {
        // SAFETY: each caller's structure is the one that its opcode takes.
        unsafe { ioctl(&self.userfaultfd, Call { opcode, argument }) }?;
        Ok(())
    }
}

/// Makes pages present and writable, as a write to each would, and leaves their bytes as they are.
///
/// # Errors
/// When the kernel is too old (it needs Linux 5.14), or has no memory for them.
pub(crate) fn populate(pages: &[u8]) -> io::Result<()> {
    let start = pages.as_ptr().cast_mut().cast();
    // SAFETY: the range is a slice's. Its bytes stay what they are; only where they are kept changes, as
    // the kernel might do at any time.
    unsafe { madvise(start, pages.len(), Advice::LinuxPopulateWrite) }?;
    Ok(())
}

/// Page faults of the calling thread so far. A write to a protected page is one: a stretch of code
/// in which the thread had none has written to no such page.
pub(crate) fn thread_faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills the structure; it cannot fail for the calling thread, and would leave
    // zeroes, which are valid.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    (usage.ru_minflt + usage.ru_majflt).cast_unsigned()
}

fn address(number: u64) -> usize {
    usize::try_from(number).expect("checked by the kernel: an address of this process")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::PAGE;

    /// Whole pages of memory that nobody had before, unlike an allocator's, and their addresses.
    fn pages(count: usize) -> (&'static mut [u8], Range<usize>) {
        let (len, access) = (count * PAGE, libc::PROT_READ | libc::PROT_WRITE);
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the mapping is new, and stays until the process ends.
        let memory = unsafe {
            let start = libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            std::slice::from_raw_parts_mut(start.cast::<u8>(), len)
        };
        let start = memory.as_ptr() as usize;
        (memory, start..start + len)
    }

    #[test]
    fn only_pages_written_since_they_were_protected_are_found() {
        let watch = PageWatch::open().expect("this kernel tracks dirty pages");
        let (memory, range) = pages(1200);
        watch.register(range.clone()).unwrap();
        // Every other page, so that they are more regions than one call reports.
        for page in (0..1200).step_by(2) {
            memory[page * PAGE] = 1;
        }
        assert_eq!(watch.written(range.clone()).unwrap(), std::slice::from_ref(&range));
        assert_eq!(watch.filled(range.clone()).unwrap().len(), 600);
        watch.protect_written(range.clone()).unwrap();
        assert!(watch.written(range.clone()).unwrap().is_empty());
        memory[5 * PAGE] = 1;
        memory[6 * PAGE] = 1;
        let at = range.start + 5 * PAGE;
        let both = at..at + 2 * PAGE;
        assert_eq!(watch.written(range.clone()).unwrap(), std::slice::from_ref(&both));
        watch.unregister(range).unwrap();
    }

    #[test]
    fn a_write_to_a_protected_page_is_a_fault_of_the_thread() {
        let watch = PageWatch::open().expect("this kernel tracks dirty pages");
        let (memory, range) = pages(8);
        memory.fill(1);
        watch.register(range.clone()).unwrap();
        watch.protect(range.clone()).unwrap();
        for page in 0..8 {
            let before = thread_faults();
            memory[page * PAGE] = 2;
            assert!(thread_faults() > before, "page {page}");
        }
        watch.unregister(range).unwrap();
    }
}
