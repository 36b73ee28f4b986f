//! Scripts that say themselves how they are to be run.

use crate::guest::Guest;

guest_test!(a_script_runs_as_it_was_when_it_was_submitted, |guest: Guest| {
    let script = "#!/usr/bin/env -S bash -u\n#fairshare --cpu 0.25 --mem 64M --name sweep\n#fairshare --output out-%j\n\
                  read -r line; echo \"$1 $FAIRSHARE_KIND $FAIRSHARE_CPUS $line $#\"; exit 3\n";
    guest.write_file("/home/alice/job.sh", script, 0o644);
    guest.write_file("/home/alice/in", "typed", 0o644);
    // Held back until the script is another one and gone: nothing of that may reach what was submitted.
    guest.as_user("bob", "fairshare request --cpu 1.5 --mem 64M").expect_ok();
    let submit = "fairshare submit --input in --script job.sh -- one two";
    let job = guest.as_user("alice", submit).expect_ok().text();
    guest.as_user("alice", "echo other >new && mv -f new job.sh").expect_ok();
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.as_user("alice", &format!("fairshare wait {job}")).expect_code(3);
    let said = guest.as_user("alice", &format!("cat out-{job}")).expect_ok().text();
    assert_eq!(said, "one submit 1 typed 2");
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("sweep");
    assert_eq!(guest.as_user("alice", &format!("fairshare output {job}")).expect_ok().text(), said);
    guest.as_user("bob", &format!("fairshare output {job}")).expect_code(1).stderr_has("No such job");

    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    // What is written is shown as it is written, until the job has ended.
    let follows = "id=$(fairshare submit -- sh -c 'echo first; until [ -e go ]; do sleep 0.1; done; echo last')
        fairshare output -f $id | { read -r line; echo $line; touch go; cat; }; fairshare jobs | grep -c running";
    assert_eq!(guest.as_user("alice", follows).text(), "first\nlast\n0");

    // One that names nothing to run it is run by a shell, and another language's by what it names.
    guest.write_file("/home/alice/plain", "echo plain; exit 4", 0o644);
    let plain = guest.as_user("alice", "fairshare submit --script plain --output o").expect_ok().text();
    guest.as_user("alice", &format!("fairshare wait {plain}; [ $? = 4 ] && grep -x plain o")).expect_ok();
    guest.write_file("/home/alice/p.py", "#!/usr/bin/python3\nimport sys\nprint(sys.argv[1:])\n", 0o644);
    let python =
        guest.as_user("alice", "fairshare submit --script p.py --output o.py -- a").expect_ok().text();
    guest.as_user("alice", &format!("fairshare wait {python} && grep -Fx \"['a']\" o.py")).expect_ok();
    guest.write_file("/home/alice/lost", "#!/nowhere/sh\n", 0o644);
    let lost = guest.as_user("alice", "fairshare submit --script lost --output o.lost").expect_ok().text();
    guest.as_user("alice", &format!("fairshare wait {lost}")).expect_code(127);
    guest.as_user("alice", "grep '/nowhere/sh: no such file' o.lost").expect_ok();
});
