//! Memory kept for when there is no more. An allocation of the guest's own that fails gives it back
//! and tries again, so that the error which ends a script can still be told; QuickJS's own give it
//! back too (`patches/memory.patch`), so that there is room for the error a script catches.
//!
//! Invariant: between executions the reserve is there, unless the session's memory has no room.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};

unsafe extern "C" {
    fn vm_reserve_fill();
    fn vm_reserve_release() -> i32;
}

/// Takes the reserve, if it is not there.
pub(crate) fn fill() {
    // SAFETY: it has no argument and keeps no pointer but its own.
    unsafe { vm_reserve_fill() }
}

struct Reserving;

#[global_allocator]
static ALLOCATOR: Reserving = Reserving;

/// Calls an allocator once more if it gave nothing and the reserve could be given back.
fn with_reserve(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let pointer = allocate();
    // SAFETY: nothing points into the reserve.
    if pointer.is_null() && unsafe { vm_reserve_release() } != 0 {
        return allocate();
    }
    pointer
}

// SAFETY: every call is the system allocator's, made again with the same arguments at most.
unsafe impl GlobalAlloc for Reserving {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the system allocator's.
        with_reserve(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the system allocator's.
        with_reserve(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the system allocator's, which leaves the block as it is
        // when it gives nothing.
        with_reserve(|| unsafe { System.realloc(pointer, layout, size) })
    }
}
