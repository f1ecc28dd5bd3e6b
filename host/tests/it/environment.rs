//! The secrets that a host gives to scripts: what they see, what events show of it, and for how long.

use crate::harness::{TestHost, capability, secrets, template};
use serde_json::json;
use vm_storage::CapabilityKind;

#[tokio::test(flavor = "multi_thread")]
async fn no_event_shows_a_secret_that_scripts_are_given() {
    let file = secrets(
        "[secrets.PASSWORD]\nvalue = \"hunter2's \\\"word\\\"\\nsecond line of it\"\n\
         [secrets.REGION]\nvalue = 'eu-1'\npublic = true\n",
    );
    let test = TestHost::with(|options| options.secrets = Some(file.path().to_owned())).await;
    let mut template = template();
    template.settings.runtime.audit = true;
    template.modules = vec!["fs".to_owned()];
    let env = json!({"names": ["PASSWORD", "REGION"]});
    template.capabilities.push(capability(CapabilityKind::Env, "env", env));
    let session = test.session(template).await;
    assert_eq!(test.preview(session, "process.env.PASSWORD.length").await, "34");
    for script in [
        "console.log(process.env.PASSWORD, [process.env.PASSWORD], JSON.stringify(process.env))",
        "process.env.PASSWORD",
        "({ [process.env.PASSWORD]: { b: [process.env.PASSWORD, process.env.REGION] } })",
        "throw new Error('no ' + process.env.PASSWORD)",
        "throw process.env",
        "console.log(process.env.PASSWORD.split('\\n'))",
        "require('fs').existsSync(process.env.PASSWORD)",
        "'x'.repeat(1000) + process.env.PASSWORD",
        "'x'.repeat(1010) + process.env.PASSWORD",
        "Promise.reject(process.env.PASSWORD)",
        "Symbol(process.env.PASSWORD)",
        "new Map([[process.env.PASSWORD, 1]])",
    ] {
        let finished = test.repl(session, script).await;
        let told = serde_json::to_string(&(&finished.events, &finished.execution)).unwrap();
        // Its input names it, and is the client's.
        for part in ["hunter2", "hunte", "second line"] {
            assert!(!told.contains(part), "{script}: {told}");
        }
        assert!(told.contains("***"), "{script}: {told}");
    }
    let shown = test.preview(session, "[process.env.PASSWORD, process.env.REGION]").await;
    assert_eq!(shown, "[ `***`, 'eu-1' ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_what_the_process_grants() {
    let (one, other) = (
        secrets("[secrets.A]\nvalue = 'first A'\n[secrets.B]\nvalue = 'first B'\n"),
        secrets("[secrets.A]\nvalue = 'other A'\n[secrets.C]\nvalue = 'other C'\n"),
    );
    let mut test = TestHost::with(|options| options.secrets = Some(one.path().to_owned())).await;
    let mut template = template();
    let env = json!({"names": ["A", "B", "C", "D"]});
    template.capabilities.push(capability(CapabilityKind::Env, "env", env));
    let session = test.session(template).await;
    let shown =
        "Object.keys(process.env).join() + process.env.A.slice(0, 5) + __ENV__.A.slice(0, 5)";
    assert_eq!(test.preview(session, shown).await, "'A,Bfirstfirst'");
    test.repl(session, "process.env.D = 'mine'; var kept = process.env").await;
    test.restart_with(|options| options.secrets = Some(other.path().to_owned())).await;
    assert_eq!(test.preview(session, shown).await, "'A,D,Cotherother'");
    assert_eq!(test.preview(session, "kept === process.env && kept.D").await, "'mine'");
    test.restart_with(|options| options.secrets = None).await;
    assert_eq!(test.preview(session, "Object.keys(process.env)").await, "[ 'D' ]");
}
