//! `vm-system repl` without a terminal; with one it is a line editor around the same loop.

use crate::harness::Folder;

#[test]
fn piped_snippets_are_evaluated_as_they_are_complete() {
    let input =
        "let a = 1\nfunction f() {\n  return a + 1\n}\nf()\n`a${\n1}`\n\nconsole.warn('w')\n";
    let ended = Folder::new().run_with_input(&["repl"], input);
    assert_eq!(ended.stdout, "2\n'a1'\n");
    assert_eq!(ended.stderr, "w\n");
    assert_eq!(ended.code, 0);
}

#[test]
fn an_error_is_shown_and_the_session_goes_on() {
    let ended = Folder::new().run_with_input(&["repl"], "var n = 1\nmissing\n)\nn\n");
    assert_eq!(ended.stdout, "1\n");
    assert!(
        ended.stderr.contains("Uncaught ReferenceError: missing is not defined"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("Uncaught SyntaxError"), "{}", ended.stderr);
}

#[test]
fn a_limit_begins_a_new_session_and_says_so() {
    let folder = Folder::new();
    folder.file("template.toml", "settings.limits.cpu_ms = 20");
    let args = ["repl", "--template", "template.toml"];
    let ended = folder.run_with_input(&args, "var n = 1\nfor (;;);\ntypeof n\n");
    assert_eq!(ended.stdout, "'undefined'\n");
    assert!(ended.stderr.contains("cpu_ms is used up"), "{}", ended.stderr);
    assert!(ended.stderr.contains("this is a new one"), "{}", ended.stderr);
}

#[test]
fn exit_ends_and_help_lists_the_commands() {
    let ended = Folder::new().run_with_input(&["repl"], ".help\n.exit\n1\n");
    assert!(ended.stdout.contains(".exit"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("\n1\n"), "{}", ended.stdout);
}
