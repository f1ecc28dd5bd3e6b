//! The door between SQLite and files: a VFS, SQLite's name for what an operating system does for it,
//! whose files are those of the [`Place`] that the thread has entered. Nothing else is here than the
//! turning of C's calls into Rust's.
//!
//! Invariant: SQLite opens no file by a path. It names files `main`, `main-journal` and so on, or not at
//! all; what these are the place says. No panic crosses into C.
#![expect(unsafe_code, reason = "SQLite's interface for files is functions of C")]

use super::place::{Code, OpenFile, Place};
use rusqlite::ffi;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name it is registered under.
pub(super) const NAME: &CStr = c"vm-place";

/// Bytes of the longest name that SQLite makes of `main`, with room to spare.
const MAX_NAME_BYTES: c_int = 64;
/// Bytes that are written at once: the pages of every file system that matters here.
const SECTOR_BYTES: c_int = 4096;
/// Milliseconds between the start of the Julian days and 1970.
const JULIAN_EPOCH_MS: i64 = 210_866_760_000_000;

thread_local! {
    static ENTERED: RefCell<Option<Arc<Place>>> = const { RefCell::new(None) };
}

/// Calls SQLite on this thread, with the files of a place.
pub(super) fn within<R>(place: &Arc<Place>, call: impl FnOnce() -> R) -> R {
    /// Goes back to what was before, also when the call panics.
    struct Leave(Option<Arc<Place>>);
    impl Drop for Leave {
        fn drop(&mut self) {
            ENTERED.set(self.0.take());
        }
    }
    let _leave = Leave(ENTERED.replace(Some(Arc::clone(place))));
    call()
}

/// Makes the VFS known to SQLite, once in a process.
pub(super) fn register() -> Result<(), Code> {
    static REGISTERED: OnceLock<Code> = OnceLock::new();
    let code = *REGISTERED.get_or_init(|| {
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<File>()).expect("checked by its two fields"),
            mxPathname: MAX_NAME_BYTES,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time_ms),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: it is never freed, and its functions are those that its version has.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    });
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

/// What SQLite keeps of an open file: its own part, and behind it ours.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    open: *mut OpenFile,
}

/// Version 1: no shared memory and so no write-ahead log, and no mapping of files into memory.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// What a call came to, as C knows it.
fn code_of(call: impl FnOnce() -> Result<(), Code>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => ffi::SQLITE_OK,
        Ok(Err(code)) => code,
        Err(_) => ffi::SQLITE_IOERR,
    }
}

/// Asks the place that the thread has entered.
fn of_place<R>(ask: impl FnOnce(&Arc<Place>) -> Result<R, Code>) -> Result<R, Code> {
    let place = ENTERED.with_borrow(Clone::clone).ok_or(ffi::SQLITE_CANTOPEN)?;
    ask(&place)
}

/// A name that SQLite gives.
///
/// # Safety
/// It is null, or ends with a NUL, and lives as long as the call.
unsafe fn name_of<'a>(name: *const c_char) -> Result<Option<&'a str>, Code> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().map(Some).map_err(|_| ffi::SQLITE_CANTOPEN)
}

/// Our part of an open file.
///
/// # Safety
/// `file` was opened by [`open`], is not closed, and nobody else uses it during the call, which is what
/// SQLite promises of a connection's files.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: the caller's promise: `open` made both.
    unsafe { &mut *(*file.cast::<File>()).open }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let file = file.cast::<File>();
    // SAFETY: SQLite gives room for a `File`; without methods it is not closed.
    unsafe { (*file).base.pMethods = std::ptr::null() };
    code_of(|| {
        // SAFETY: it is null or a text with a NUL behind it.
        let name = unsafe { name_of(name) }?;
        let opened = of_place(|place| OpenFile::open(place, name, flags))?;
        // SAFETY: as above; what is given out is null or has room for a number.
        unsafe {
            (*file).open = Box::into_raw(Box::new(opened));
            (*file).base.pMethods = &raw const METHODS;
            if let Some(out_flags) = out_flags.as_mut() {
                *out_flags = flags;
            }
        }
        Ok(())
    })
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    code_of(|| {
        let file = file.cast::<File>();
        // SAFETY: `open` made the box, and SQLite closes a file once.
        drop(unsafe { Box::from_raw((*file).open) });
        // SAFETY: it is still SQLite's own.
        unsafe { (*file).base.pMethods = std::ptr::null() };
        Ok(())
    })
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    code_of(|| {
        let (len, offset) = range(len, offset, ffi::SQLITE_IOERR_READ)?;
        // SAFETY: the buffer has the bytes that SQLite says, of which the bytes are its own.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        // SAFETY: see `opened`.
        let filled = unsafe { opened(file) }.read(buffer, offset)?;
        // SQLite takes what a file does not have for zeros, and says that they have to be there.
        buffer[filled..].fill(0);
        if filled < len { Err(ffi::SQLITE_IOERR_SHORT_READ) } else { Ok(()) }
    })
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    code_of(|| {
        let (len, offset) = range(len, offset, ffi::SQLITE_IOERR_WRITE)?;
        // SAFETY: the buffer has the bytes that SQLite says.
        let buffer = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), len) };
        // SAFETY: see `opened`.
        unsafe { opened(file) }.write(buffer, offset)
    })
}

/// A range of a file, as numbers that have no sign.
fn range(len: c_int, offset: ffi::sqlite3_int64, otherwise: Code) -> Result<(usize, u64), Code> {
    let len = usize::try_from(len).map_err(|_| otherwise)?;
    Ok((len, u64::try_from(offset).map_err(|_| otherwise)?))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    code_of(|| {
        let size = u64::try_from(size).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)?;
        // SAFETY: see `opened`.
        unsafe { opened(file) }.truncate(size)
    })
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: see `opened`.
    code_of(|| unsafe { opened(file) }.sync())
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    code_of(|| {
        // SAFETY: see `opened`.
        let bytes = unsafe { opened(file) }.size()?;
        let bytes = i64::try_from(bytes).map_err(|_| ffi::SQLITE_IOERR_FSTAT)?;
        // SAFETY: SQLite gives room for a number.
        unsafe { *size = bytes };
        Ok(())
    })
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: see `opened`.
    code_of(|| unsafe { opened(file) }.lock(level))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: see `opened`.
    code_of(|| unsafe { opened(file) }.unlock(level))
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    reserved: *mut c_int,
) -> c_int {
    code_of(|| {
        // SAFETY: see `opened`; SQLite gives room for a number.
        unsafe { *reserved = c_int::from(opened(file).is_reserved()?) };
        Ok(())
    })
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _operation: c_int,
    _arg: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

/// What a write does not touch stays as it is, also when the power fails: SQLite assumes it of Unix too.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _sync_folder: c_int,
) -> c_int {
    code_of(|| {
        // SAFETY: it is a text with a NUL behind it.
        let name = unsafe { name_of(name) }?.ok_or(ffi::SQLITE_IOERR_DELETE)?;
        of_place(|place| place.delete(name))
    })
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    found: *mut c_int,
) -> c_int {
    code_of(|| {
        // SAFETY: it is a text with a NUL behind it.
        let name = unsafe { name_of(name) }?.ok_or(ffi::SQLITE_IOERR_ACCESS)?;
        let is_there = of_place(|place| place.has(name))?;
        // SAFETY: SQLite gives room for a number.
        unsafe { *found = c_int::from(is_there) };
        Ok(())
    })
}

/// Names stay as they are: they are no paths.
unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    len: c_int,
    full: *mut c_char,
) -> c_int {
    code_of(|| {
        // SAFETY: it is a text with a NUL behind it.
        let name = unsafe { name_of(name) }?.ok_or(ffi::SQLITE_CANTOPEN)?;
        if name.len() >= usize::try_from(len).unwrap_or(0) {
            return Err(ffi::SQLITE_CANTOPEN);
        }
        // SAFETY: there is room for `len` bytes, and the two do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(name.as_ptr().cast(), full, name.len());
            *full.add(name.len()) = 0;
        }
        Ok(())
    })
}

unsafe extern "C" fn randomness(
    _vfs: *mut ffi::sqlite3_vfs,
    len: c_int,
    buffer: *mut c_char,
) -> c_int {
    let Ok(room) = usize::try_from(len) else { return 0 };
    // SAFETY: there is room for `len` bytes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), room) };
    buffer.fill(0);
    // Without any, numbers repeat; nothing that is kept depends on them.
    getrandom::fill(buffer).map_or(0, |()| len)
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    std::thread::sleep(Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)));
    microseconds
}

/// The time in milliseconds, as SQLite counts it.
fn julian_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    JULIAN_EPOCH_MS.saturating_add(i64::try_from(since.as_millis()).unwrap_or(0))
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, days: *mut f64) -> c_int {
    #[expect(clippy::cast_precision_loss, reason = "SQLite's own older clock has no more")]
    let now = julian_ms() as f64 / 86_400_000.0;
    // SAFETY: SQLite gives room for a number.
    unsafe { *days = now };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_ms(
    _vfs: *mut ffi::sqlite3_vfs,
    milliseconds: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives room for a number.
    unsafe { *milliseconds = julian_ms() };
    ffi::SQLITE_OK
}
