//! Descriptors that go with a call, and those that come with an answer.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;

use fairshare::client::{ClientError, Violation};
use fairshare::contract::{Answer, Call, Handed, JobFetch, JobStarted, Submit};

use super::{Daemon, scene};

#[test]
fn descriptors_go_along_with_a_submission() {
    let submission = Submit { argv: vec!["true".into()], cwd: "/".into(), ..Submit::default() };
    let asked = Call::Submit(submission.clone());
    let daemon = Daemon::play(vec![scene(move |peer| {
        peer.greet();
        assert_eq!(peer.answer(Answer::JobStarted(JobStarted { job_started: 8 })), asked);
        assert_eq!(peer.descriptors.len(), 2);
        let mut second = File::from(peer.descriptors.pop().unwrap());
        second.write_all(b"heard").unwrap();
    })]);
    let mut output = tempfile::tempfile().unwrap();
    let input = File::open("/dev/null").unwrap();
    let mut client = daemon.connect().unwrap();
    assert_eq!(client.call_with(&submission, &[input.as_fd(), output.as_fd()]).unwrap().job_started, 8);
    daemon.end();
    output.rewind().unwrap();
    let mut heard = String::new();
    output.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "heard");
    assert!(matches!(
        client.call_with(&submission, &[input.as_fd(); 4]),
        Err(ClientError::TooManyDescriptors(4))
    ));
}

/// Less than what was said is no command that could be run.
#[test]
fn an_answer_without_the_descriptors_that_it_names_is_a_violation() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.greet();
        let answer =
            Answer::Handed(Handed { handed: 2, cpu_milli: 500, mem_bytes: 1 << 20, task: None, tries: None });
        assert_eq!(peer.answer(answer), Call::JobFetch(JobFetch { job_id: 8, at_end: None }));
    })]);
    let error = daemon.connect().unwrap().job_fetch(8).unwrap_err();
    let violated = matches!(error, ClientError::Protocol(Violation::Descriptors { said: 2, came: 0 }));
    assert!(violated, "{error:?}");
    daemon.end();
}
