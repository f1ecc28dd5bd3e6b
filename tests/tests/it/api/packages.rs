//! Programs of more than a file, from `fixtures`, as they are.

use crate::harness::{Daemon, Folder, project};
use serde_json::{Value, json};

/// What an execution printed, a line each.
fn printed(execution: &Value) -> Vec<&str> {
    let events = execution["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "console")
        .map(|event| event["payload"]["text"].as_str().unwrap())
        .collect()
}

#[test]
fn each_program_gets_the_build_of_a_package_that_is_made_for_it() {
    let daemon = Daemon::start();
    let mut body = daemon.session_body(&daemon.template());
    body["worktree_path"] = json!(project().join("fixtures/dual"));
    let session = daemon.post("/sessions", body).is(201)["id"].as_str().unwrap().to_owned();

    let shop = daemon.try_run_file(&session, "shop.mjs").is(201);
    assert_eq!(printed(&shop), ["esm: 19.99 EUR + 5.01 EUR = 25.00 EUR"], "{shop}");
    assert_eq!(shop["result"]["json"], "27.50 USD");
    // The rate that the other program set is there: the package keeps it in one of its builds.
    let books = daemon.try_run_file(&session, "books.cjs").is(201);
    assert_eq!(printed(&books), ["cjs: 10.00 EUR + -2.50 EUR = 7.50 EUR", "3 made here"]);
    assert_eq!(books["result"]["json"], "8.25 USD", "{books}");

    // What it keeps in each is there twice: a class of one build is not that of the other.
    let both = daemon.try_run_file(&session, "both.mjs").is(201);
    let expected =
        json!({"sameClass": false, "sameKind": true, "madeBetween": 1, "rateOfTheShop": 1.1});
    assert_eq!(both["result"]["json"], expected, "{both}");
    let builds = "[require('money').build, (await import('money')).build]";
    assert_eq!(daemon.preview(&session, builds), "[ 'cjs', 'esm' ]");
    let one = "require('money').Money === (await import('money')).Money";
    assert_eq!(daemon.preview(&session, one), "false");
}

#[test]
fn programs_with_packages_run_without_a_daemon() {
    let (folder, dual) = (Folder::new(), project().join("fixtures/dual"));
    let run = |program: &str| folder.run(&["run", dual.join(program).to_str().unwrap()]);
    let shop = run("shop.mjs");
    assert_eq!((shop.code, shop.stderr.as_str()), (0, ""));
    assert_eq!(shop.stdout, "esm: 19.99 EUR + 5.01 EUR = 25.00 EUR\n'27.50 USD'\n");
    // Alone the other program finds no rate.
    let books = run("books.cjs");
    assert_eq!(books.code, 1, "{}", books.stderr);
    assert_eq!(books.stdout, "cjs: 10.00 EUR + -2.50 EUR = 7.50 EUR\n3 made here\n");
    assert!(
        books.stderr.starts_with("Uncaught RangeError: no rate from EUR to USD\n"),
        "{}",
        books.stderr
    );
    assert!(books.stderr.contains("node_modules/money/rates.cjs:7:"), "{}", books.stderr);
}
