//! Images of templates: what begins with one, and that nobody can tell.

use crate::harness::{TestHost, console, template, with_startup};
use vm_host::{ArtifactForm, Forms, InputAnswer};
use vm_storage::{SessionId, StartupForm};

async fn form(test: &TestHost, session: SessionId) -> StartupForm {
    test.host.session(session).await.unwrap().template.startup.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_session_begins_where_the_first_ones_startup_ended() {
    let test = TestHost::start().await;
    test.file("init.js", "var log = []; const n = 41; console.log('once', n); log.push(n)");
    let template = with_startup(&[("init.js", 0)]);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(form(&test, first).await, StartupForm::Replayed);
    assert_eq!(form(&test, second).await, StartupForm::Image);
    assert_eq!(test.preview(second, "n + log.length").await, "42");
    for session in [first, second] {
        let execution = &test.executions(session)[usize::from(session == second)];
        assert_eq!(console(&test.events(execution.id)), ["once 41"]);
    }
}
