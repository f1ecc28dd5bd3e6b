//! Any text for a path of a file in a worktree.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if vm_host::check_path(path).is_ok() {
        assert!(!path.starts_with('/') && !path.contains('\0') && !path.is_empty());
        assert!(path.split('/').all(|component| component != ".."));
        assert!(path.len() <= 4096);
    }
});
