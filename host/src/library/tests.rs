//! What is a library's name, and that a folder gives only libraries.

use super::{
    EXTENSION, LibraryError, LibraryFolder, LibraryName, LibraryNameError, MAX_NAME_BYTES,
};
use crate::worktree::{FileError, WorktreeError};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn check(name: &str, expected: Result<(), LibraryNameError>) {
    let parsed = match LibraryName::parse(name) {
        Ok(parsed) => {
            assert_eq!(parsed.as_str(), name);
            Ok(())
        }
        Err(LibraryError::InvalidName(error)) => Err(error),
        Err(error) => panic!("{name} is {error:?}"),
    };
    assert_eq!(parsed, expected, "{name}");
}

fn name(name: &str) -> LibraryName {
    LibraryName::parse(name).unwrap()
}

fn folder() -> (TempDir, LibraryFolder) {
    let folder = tempfile::tempdir().unwrap();
    let libraries = LibraryFolder::open(folder.path());
    (folder, libraries)
}

#[test]
fn a_package_a_dash_and_a_version_are_a_name() {
    for name in [
        "lodash-4.17.21",
        "d3-7.9.0",
        "date-fns-3.6.0",
        "socket.io-4.7.5",
        "a_b-1",
        "-a-1",
        "lib-1.0.0-beta.2",
        "lib-1.0.0-RC1+build_5",
        "lib-1.0.0-RC-2",
        "@scope__name-1.0.0",
        "@a.b-c__d__e-1.0.0",
    ] {
        check(name, Ok(()));
    }
}

#[test]
fn what_lacks_a_part_is_not_a_name() {
    for name in [
        "",
        "lodash",
        "lodash-",
        "lodash-latest",
        "-1.0.0",
        "1.0.0",
        "@scope",
        "@scope-1",
        "@__a-1",
    ] {
        check(name, Err(LibraryNameError::Shape));
    }
    check("@scope__-1.0.0", Err(LibraryNameError::Shape));
}

#[test]
fn what_could_leave_the_folder_is_not_a_name() {
    check("../lodash-4.17.21", Err(LibraryNameError::DotDot));
    check("lodash-4..17", Err(LibraryNameError::DotDot));
    check("a/lodash-4.17.21", Err(LibraryNameError::Character('/')));
    check("/lodash-4.17.21", Err(LibraryNameError::Character('/')));
    check("@scope/name__a-1.0.0", Err(LibraryNameError::Character('/')));
    check("lodash-4.17.21/a", Err(LibraryNameError::Character('/')));
    check("lodash-4\\a", Err(LibraryNameError::Character('\\')));
    check("lodash-4\0", Err(LibraryNameError::Character('\0')));
    check("Lodash-4", Err(LibraryNameError::Character('L')));
    check("l\u{f6}dash-4", Err(LibraryNameError::Character('\u{f6}')));
    check("%2e%2e-1", Err(LibraryNameError::Character('%')));
    check("a@b__c-1", Err(LibraryNameError::Character('@')));
}

#[test]
fn a_name_longer_than_the_bound_is_refused() {
    let longest = format!("{}-1", "a".repeat(MAX_NAME_BYTES - 2));
    check(&longest, Ok(()));
    check(&format!("{longest}0"), Err(LibraryNameError::TooLong { limit: MAX_NAME_BYTES }));
}

#[test]
fn a_library_is_read_from_its_file() {
    let (folder, libraries) = folder();
    fs::write(folder.path().join("@scope__a-1.0.0.js"), "source").unwrap();
    assert_eq!(*libraries.read(&name("@scope__a-1.0.0"), 6).unwrap().text.unwrap(), *b"source");
    let read = libraries.read(&name("@scope__a-1.0.0"), 5);
    let Err(LibraryError::File { name: library, source: FileError::TooLarge { limit: 5 } }) = read
    else {
        panic!("{read:?}")
    };
    assert_eq!(library, "@scope__a-1.0.0");
    let missing = libraries.read(&name("a-1.0.0"), 6).unwrap_err();
    assert!(matches!(missing, LibraryError::NotInstalled { .. }), "{missing:?}");
    assert_eq!(missing.to_string(), "library a-1.0.0 is not installed");
}

#[test]
fn a_library_that_is_a_link_out_of_the_folder_is_refused() {
    let (folder, libraries) = folder();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), folder.path().join("a-1.js")).unwrap();
    let read = libraries.read(&name("a-1"), 6);
    let escapes = matches!(&read, Err(LibraryError::File { source: FileError::Escapes, .. }));
    assert!(escapes, "{read:?}");
}

#[test]
fn a_list_has_only_files_with_a_library_s_name() {
    let (folder, libraries) = folder();
    let path = |name: &str| folder.path().join(name);
    for file in ["b-1.js", "b-1-rc.js", "a-2.js", "a-2.json", "a-2", "Notes-1.js", "readme.js"] {
        fs::write(path(file), "").unwrap();
    }
    fs::create_dir(path("c-1.js")).unwrap();
    symlink("/etc/hostname", path("d-1.js")).unwrap();
    symlink("a-2", path("e-1.js")).unwrap();
    let listed = libraries.list().unwrap();
    assert_eq!(listed, ["a-2", "b-1", "b-1-rc", "e-1"].map(name));
}

#[test]
fn a_folder_with_more_entries_than_the_bound_is_not_listed() {
    let (folder, libraries) = folder();
    for index in 0..=super::MAX_FOLDER_ENTRIES {
        // A link costs no inode's worth of blocks, and is made in one call.
        symlink("x", folder.path().join(format!("a-{index}{EXTENSION}"))).unwrap();
    }
    let listed = libraries.list();
    assert!(
        matches!(&listed, Err(LibraryError::List(FileError::TooManyEntries { .. }))),
        "{listed:?}"
    );
}

#[test]
fn a_folder_that_does_not_exist_has_no_libraries_until_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later");
    let libraries = LibraryFolder::open(&path);
    assert!(libraries.list().unwrap().is_empty());
    let missing = libraries.read(&name("a-1"), 9);
    assert!(matches!(missing, Err(LibraryError::NotInstalled { .. })), "{missing:?}");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a-1.js"), "source").unwrap();
    assert_eq!(libraries.list().unwrap(), [name("a-1")]);
    assert_eq!(*libraries.read(&name("a-1"), 9).unwrap().text.unwrap(), *b"source");
}

#[test]
fn a_relative_folder_is_beneath_the_working_directory() {
    let missing = LibraryFolder::open(Path::new("no/such/folder")).list();
    assert!(missing.unwrap().is_empty());
    // Tests run in the folder of their crate.
    let present = LibraryFolder::open(Path::new("src")).read(&name("a-1"), 9);
    assert!(matches!(present, Err(LibraryError::NotInstalled { .. })), "{present:?}");
}

#[test]
fn a_folder_that_is_a_file_is_an_error_that_does_not_say_where() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let listed = LibraryFolder::open(file.path()).list().unwrap_err();
    assert!(
        matches!(&listed, LibraryError::Folder(WorktreeError::NotADirectory { .. })),
        "{listed:?}"
    );
    assert_eq!(listed.to_string(), "the library folder cannot be used");
}
