//! Memory kept for when there is no more, so that the error which ends a script can still be told.
//!
//! QuickJS's own two reserves (`patches/memory.patch`) make room for the error that a script catches,
//! which its next allocations may use up, and for the next script. The guest's own code has an arena
//! that nothing else takes from: what the system's allocator refuses comes from there.
//!
//! Invariant: between executions at least one of QuickJS's reserves is there, and the arena is free.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement")]

use crate::{raw, state};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// Bytes of the arena: several times what the texts of one event take.
const ARENA_BYTES: usize = 512 * 1024;

unsafe extern "C" {
    fn vm_reserve_begin();
    fn vm_reserve_end() -> i32;
    fn vm_has_run_out() -> i32;
    fn malloc(bytes: usize) -> *mut u8;
    fn free(block: *mut u8);
}

/// Sees before an execution that it has room to run.
pub(crate) fn begin() {
    // SAFETY: it has no argument and keeps no pointer but its own.
    unsafe { vm_reserve_begin() }
}

/// Whether memory ran out in this execution.
pub(crate) fn ran_out() -> bool {
    // SAFETY: it has no argument and only looks at what is its own.
    unsafe { vm_has_run_out() != 0 }
}

/// Sees at the end of an execution that the next one will have room to run. A guest that has none
/// cannot go on: it traps, and the host goes back to what was before.
pub(crate) fn end() {
    // SAFETY: it has no argument and keeps no pointer but its own.
    let fill = || unsafe { vm_reserve_end() } != 0;
    if !fill() {
        state::with(|state| state.runtime.context().with(|ctx| raw::collect_cycles(&ctx)));
        if !fill() {
            core::arch::wasm32::unreachable()
        }
    }
}

/// Takes the holes that making the realm left in the heap, for good: what executions allocate stands
/// behind all of it, in a row. A small one changes half as many pages of the session then, and each of
/// these is copied, compared and committed.
pub(crate) fn fill_holes() {
    const LARGEST: usize = 256 * 1024;
    const SMALLEST: usize = 8;
    // SAFETY: what is freed is what was just given, and nobody has what is kept.
    unsafe {
        let behind = malloc(LARGEST);
        free(behind);
        let mut size = LARGEST;
        while size >= SMALLEST {
            let block = malloc(size);
            if block.is_null() || block >= behind {
                free(block);
                size /= 2;
            }
        }
    }
}

/// Blocks that the arena has given out.
pub(crate) fn lent() -> usize {
    ARENA.blocks.get()
}

/// Memory that is given out from its start to its end, and begun again when all of it is free.
struct Arena {
    bytes: UnsafeCell<[u8; ARENA_BYTES]>,
    used: Cell<usize>,
    blocks: Cell<usize>,
}

// SAFETY: a module instance has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena =
    Arena { bytes: UnsafeCell::new([0; ARENA_BYTES]), used: Cell::new(0), blocks: Cell::new(0) };

impl Arena {
    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    fn has(&self, pointer: *mut u8) -> bool {
        (pointer as usize).wrapping_sub(self.start() as usize) < ARENA_BYTES
    }

    fn allocate(&self, layout: Layout) -> *mut u8 {
        let start = self.start() as usize;
        let begin = (start + self.used.get()).next_multiple_of(layout.align()) - start;
        match begin.checked_add(layout.size()) {
            Some(end) if end <= ARENA_BYTES => {
                self.used.set(end);
                self.blocks.set(self.blocks.get() + 1);
                // SAFETY: the block lies in the arena.
                unsafe { self.start().add(begin) }
            }
            Some(_) | None => std::ptr::null_mut(),
        }
    }

    fn free(&self) {
        self.blocks.set(self.blocks.get() - 1);
        if self.blocks.get() == 0 {
            self.used.set(0);
        }
    }
}

struct Reserving;

#[global_allocator]
static ALLOCATOR: Reserving = Reserving;

// SAFETY: a block is the system allocator's or the arena's, and its address tells which.
unsafe impl GlobalAlloc for Reserving {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the system allocator's.
        let pointer = unsafe { System.alloc(layout) };
        if pointer.is_null() { ARENA.allocate(layout) } else { pointer }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if ARENA.has(pointer) {
            ARENA.free();
        } else {
            // SAFETY: the caller's promise is the system allocator's.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !ARENA.has(pointer) {
            // SAFETY: the caller's promise is the system allocator's, which leaves the block as it
            // is when it gives nothing.
            let moved = unsafe { System.realloc(pointer, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: both blocks are as large as what is copied; the old one is freed after it.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}
