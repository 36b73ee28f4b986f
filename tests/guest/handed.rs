//! What a client hands to the daemon with `submit`, and what else it could hand: nothing of it stays where it was refused.

use crate::guest::Guest;

/// What is answered to descriptors: with which code, and what the message says.
const STREAMS: [(&str, &str); 14] = [
    ("four", "1 More than 3 descriptors were sent"),
    ("most", "1 More than 3 descriptors were sent"),
    ("folder", "1 The descriptor for standard output is a folder"),
    ("socket", "1 The descriptor for standard input is a socket"),
    ("path", "1 The descriptor for standard input is only a path"),
    ("process", "1 The descriptor for standard input is no file, pipe or terminal"),
    ("read-only", "1 The descriptor for standard output is not open for writing"),
    ("write-only", "1 The descriptor for standard input is not open for reading"),
    ("listener", "1 The descriptor for standard input is a socket"),
    ("connection", "1 The descriptor for standard input is a socket"),
    ("elsewhere", "0 {'ok': {'at_ms'"),
    ("closed-after", "0 {'ok': {'job_started': 1}}"),
    ("memory", "0 {'ok': {'job_started': 2}}"),
    ("pipe", "0 {'ok': {'job_started': 3}}"),
];

/// What is answered to texts that no command can have.
const TEXTS: [(&str, &str); 9] = [
    ("nul", "1 argv[2] has a NUL in it"),
    ("nul-folder", "1 cwd is not an absolute path"),
    ("nul-variable", "1 env: no environment can have the variable \"A\", or its value"),
    ("no-command", "1 body.argv: expected a command, found none"),
    ("no-text", "1 body.argv[1]: text that is not UTF-8"),
    ("no-text-variable", "1 body.env.A: text that is not UTF-8"),
    ("many", "0 {'ok': {'job_started': 4}}"),
    ("bytes", "0 {'ok': {'job_started': 5}}"),
    ("nul-bytes", "1 argv[1] has a NUL in it"),
];

guest_test!(what_no_command_can_have_is_refused_by_name_and_closed, |guest: Guest| {
    guest.write_file("/home/alice/handed.py", include_str!("handed.py"), 0o644);
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let descriptors = "ls /proc/$(systemctl show -P MainPID fairshared.service)/fd | wc -l";
    // The triggers of the share's pressure are set when the daemon has nothing else to do.
    for what in ["cpu", "memory"] {
        guest.await_cmd(&format!(
            "ls -l /proc/$(systemctl show -P MainPID fairshared.service)/fd | grep -q '1001.slice/{what}.pressure'"
        ));
    }
    let before: u32 = guest.root(descriptors).expect_ok().text().parse().unwrap();
    for (what, answers) in [("streams", &STREAMS[..]), ("texts", &TEXTS)] {
        let said = guest.as_user("alice", &format!("python3 handed.py {what}")).expect_ok().text();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), answers.len(), "{said}");
        for (line, (what, answer)) in lines.into_iter().zip(answers) {
            assert!(line.starts_with(&format!("{what} {answer}")), "{what} {answer}: {line}");
        }
    }
    for id in 1..=5 {
        guest.as_user("alice", &format!("fairshare wait {id}")).expect_ok();
    }
    guest.await_cmd(&format!("test $({descriptors}) -le {before}"));
});

guest_test!(a_folder_and_a_file_that_are_not_utf_8_are_submitted_as_they_are_run, |guest: Guest| {
    let script = r#"
        folder=$(printf 'donn\351es'); file=$(printf 'caf\351')
        mkdir "$folder" && cd "$folder" && echo hi > "$file" || exit
        V=$(printf '\377') fairshare run --cpu 0.25 --mem 100M -- cat "$file" || exit
        id=$(V=$(printf '\377') fairshare submit -- sh -c 'cat "$1"; printf %s "$V" | od -An -tx1' sh "$file") || exit
        fairshare wait "$id" && cat "fairshare-$id.out"
    "#;
    assert_eq!(guest.as_user("alice", script).expect_ok().text(), "hi\nhi\n ff");
});
