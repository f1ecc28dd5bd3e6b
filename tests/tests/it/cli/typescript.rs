//! TypeScript from the command line: a program of several files, one file, a REPL.

use crate::harness::{Folder, project};
use std::fs;

#[test]
fn a_program_of_several_files_writes_its_report() {
    let folder = Folder::new();
    let fixture = project().join("fixtures/report");
    for part in ["", "data"] {
        for entry in fs::read_dir(fixture.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(&fixture).unwrap().to_str().unwrap();
                folder.file(name, &fs::read_to_string(&path).unwrap());
            }
        }
    }
    let ended = folder.run(&["run", "main.ts", "--template", "template.toml"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout, "out/report.md: 17 lines\n");
    assert_eq!(ended.code, 0);
    let expected = fs::read_to_string(fixture.join("expected/report.md")).unwrap();
    assert_eq!(fs::read_to_string(folder.path("out/report.md")).unwrap(), expected);
    // What is wrong with a row is told with the program's own line.
    folder.file("data/orders.csv", "id,customer,sku,count,day\n1,c1,p1,two,2026-01-01\n");
    let ended = folder.run(&["run", "main.ts", "--template", "template.toml"]);
    assert_eq!(ended.code, 1);
    let told = "Uncaught CsvError: data/orders.csv:2: 'two' is no whole number\n    at ";
    assert!(ended.stderr.starts_with(told), "{}", ended.stderr);
    assert!(ended.stderr.contains("(main.ts:10:"), "{}", ended.stderr);
}

#[test]
fn syntax_errors_of_typescript_are_exit_1_with_file_line_and_column() {
    let folder = Folder::new();
    folder.file("app.ts", "let a: number = 1;\nlet b: = 2;");
    let ended = folder.run(&["run", "app.ts"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("Uncaught SyntaxError: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("at app.ts:2:8"), "{}", ended.stderr);
}

#[test]
fn a_template_has_the_lines_of_a_repl_be_typescript() {
    let folder = Folder::new();
    folder.file("typed.toml", "[settings.runtime]\ntypescript = true\n");
    let input = "let n: number = 20\nn * 2 + 2 as number\n";
    let ended = folder.run_with_input(&["repl", "--template", "typed.toml"], input);
    assert!(ended.stdout.contains("42"), "{ended:?}");
    let ended = folder.run_with_input(&["repl"], input);
    assert!(!ended.stdout.contains("42"), "{ended:?}");
}
