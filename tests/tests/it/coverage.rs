//! docs/coverage.md says which tests hold each route and each code. Here it is kept true.

use crate::harness::project;
use std::collections::BTreeSet;
use vm_api::ErrorCode;
use vm_api::server::ROUTES;

/// The rows of the table under a heading: their cells.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = document.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    })
    .collect()
}

fn document() -> String {
    std::fs::read_to_string(project().join("docs/coverage.md")).unwrap()
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let documented: BTreeSet<_> =
        rows(&document(), "Routes").into_iter().map(|row| row[0].clone()).collect();
    let routes: BTreeSet<_> =
        ROUTES.iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(documented, routes);
}

#[test]
fn every_code_has_a_row_and_every_row_a_code() {
    let documented: BTreeSet<_> = rows(&document(), "Codes")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let codes: BTreeSet<_> = ErrorCode::ALL
        .iter()
        .map(|code| (code.to_string(), code.status().as_u16().to_string()))
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn every_test_that_is_named_exists() {
    let tests = project().join("tests/tests/it");
    for row in ["Routes", "Codes", "What holds for all"]
        .iter()
        .flat_map(|heading| rows(&document(), heading))
    {
        let named = row.last().unwrap();
        assert!(!named.is_empty(), "{row:?} names no test");
        for name in named.split(", ") {
            let (module, test) =
                name.rsplit_once("::").unwrap_or_else(|| panic!("{name} in {row:?}"));
            let file = tests.join(format!("{}.rs", module.replace("::", "/")));
            let source =
                std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            let declared =
                [format!("#[test]\nfn {test}("), format!("#[tokio::test]\nasync fn {test}(")];
            let is_there = declared.iter().any(|declared| source.contains(declared));
            assert!(is_there, "{} has no test {test}", file.display());
        }
    }
}
