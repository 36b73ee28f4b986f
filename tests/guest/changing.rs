//! A share from request to release: what is refused is refused with the figure, and nothing dies of a change.

use crate::guest::Guest;

const SLICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";

guest_test!(a_share_is_taken_changed_and_shown, |guest: Guest| {
    guest
        .as_user("alice", "fairshare request --cpu 16")
        .expect_code(1)
        .stderr_has("fairshare: Requested CPU (16) exceeds maximum allowed (8)\n")
        .stderr_has("  hint: ask for 8 or less, or see `fairshare policy show`\n");
    guest
        .as_user("alice", "fairshare request --mem 64G")
        .expect_code(1)
        .stderr_has("exceeds maximum allowed (32G");
    for nonsense in ["0", "-1", "NaN", "1e99", "lots"] {
        guest.as_user("alice", &format!("fairshare request --cpu {nonsense}")).expect_code(2);
    }
    guest.as_user("alice", "fairshare resize --cpu 1").expect_code(1).stderr_has("No share is held");
    assert!(!guest.cgroup_exists(SLICE), "a request that was refused left a slice");

    guest
        .as_user("alice", "fairshare request --cpu 1 --mem 256M --tasks 64")
        .expect_ok()
        .stdout_has("Granted");
    guest
        .as_user("alice", "fairshare request")
        .expect_code(1)
        .stderr_has("hold a share already")
        .stderr_has("hint:");
    assert!(guest.property("fairshare-1001-own.slice", "Description").contains("alice"));
    assert_eq!(guest.cgroup(SLICE, "cpu.weight"), "100");

    let id = guest.property("fairshare-1001-own.slice", "InvocationID");
    guest.as_user("alice", "fairshare resize --cpu 1.5 --mem 512M --tasks 128").expect_ok();
    let limits = ["cpu.max", "memory.max", "pids.max", "cpu.weight"].map(|file| guest.cgroup(SLICE, file));
    assert_eq!(limits, ["150000 100000", "536870912", "128", "150"]);
    guest.as_user("alice", "fairshare resize --cpu 0.25").expect_ok();
    assert_eq!(guest.cgroup(SLICE, "cpu.max"), "25000 100000");
    assert_eq!(guest.cgroup(SLICE, "memory.max"), "536870912", "what is not named stays");
    guest
        .as_user("alice", "fairshare resize --cpu 9")
        .expect_code(1)
        .stderr_has("exceeds maximum allowed (8)");

    // Under what is in use: refused with the figure, and the program goes on.
    let hog = guest
        .command("exec fairshare run -- python3 -c 'b = b\"x\" * (200 << 20); print(1); import time; time.sleep(1000)'")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("test $(cat /sys/fs/cgroup/{SLICE}/memory.current) -gt $((200 << 20))"));
    guest
        .as_user("alice", "fairshare resize --mem 100M")
        .expect_code(75)
        .stderr_has("Memory in use (2")
        .stderr_has("exceeds the new limit (100")
        .stderr_has("hint:");
    assert_eq!(guest.cgroup(SLICE, "memory.max"), "536870912");
    guest.as_user("alice", "fairshare resize --mem 400M").expect_ok();
    assert_eq!(guest.cgroup(SLICE, "memory.max"), "419430400");
    assert!(hog.is_running());
    assert_eq!(guest.property("fairshare-1001-own.slice", "InvocationID"), id, "the slice was made anew");

    // As members see it.
    let status = guest.as_user("alice", "fairshare status").expect_ok();
    let status = status.stdout_has("Your share  0.25 CPU").stdout_has("400").stdout_has("1 task").text();
    eprintln!("{status}");
    let all =
        guest.as_user("bob", "fairshare status --all").expect_ok().stdout_has("alice").stdout_has("0.25");
    eprintln!("{}", all.text());
    let json = guest.as_user("alice", "fairshare status --json").expect_ok().json();
    assert_eq!(json["share"]["uid"], 1001);
    assert_eq!(json["share"]["user"], "alice");
    assert_eq!(json["share"]["cpu_milli"], 250);
    assert_eq!(json["share"]["mem_bytes"], 419_430_400);
    assert_eq!(json["share"]["slice"], "fairshare-1001.slice");
    assert!(json["share"]["usage"]["mem_bytes"].as_u64().unwrap() > 200 << 20);
    let json = guest.as_user("bob", "fairshare status --all --json").expect_ok().json();
    assert_eq!(json["shares"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["capacity"]["shares"], 1);
    let health = guest.as_user("bob", "fairshare health").expect_ok().stdout_has("healthy").text();
    eprintln!("{health}");
    assert_eq!(guest.as_user("bob", "fairshare health --json").expect_ok().json()["healthy"], true);
    let policy = guest.as_user("bob", "fairshare policy show").expect_ok().stdout_has("operator").text();
    eprintln!("{policy}");
    assert_eq!(
        guest.as_user("bob", "fairshare policy show --json").json()["policy"]["max"]["cpu_milli"],
        8000
    );

    // Where the policy shows totals only, others see that something is held, and not by whom.
    guest.write_file(
        "/etc/fairshare/policy.d/site.yaml",
        "visibility: totals\nusers: {carol: {role: admin}}\n",
        0o644,
    );
    guest.root("fairshare admin reload").expect_ok();
    let all = guest
        .as_user("bob", "fairshare status --all")
        .expect_ok()
        .stdout_lacks("alice")
        .stdout_has("1 member");
    eprintln!("{}", all.text());
    let json = guest.as_user("bob", "fairshare status --all --json").expect_ok().json();
    assert_eq!(
        (&json["shares"], &json["capacity"]["shares"]),
        (&serde_json::json!([]), &serde_json::json!(1))
    );
    guest.as_user("alice", "fairshare status --all").expect_ok().stdout_has("alice");
    guest.as_user("carol", "fairshare status --all").expect_ok().stdout_has("alice");
});

guest_test!(release_kills_nothing_unless_it_is_told_to, |guest: Guest| {
    guest.as_user("alice", "fairshare release").expect_ok().stdout_has("No share was held");
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 128M").expect_ok();
    guest.as_user("alice", "fairshare release").expect_ok().stdout_has("Released");
    guest.as_user("alice", "fairshare release").expect_ok().stdout_has("No share was held");
    assert!(!guest.cgroup_exists(SLICE));

    // A program that knows how to ignore SIGTERM, and says that it got it.
    let stubborn = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- bash -c 'trap \"echo term > /tmp/term\" TERM; echo > /tmp/set; while :; do sleep 1; done'")
        .user("alice")
        .spawn();
    guest.await_cmd("test -e /tmp/set");
    let refused = guest.as_user("alice", "fairshare release").expect_code(75).stderr_has("inside the share");
    let refused = refused.stderr_has(&stubborn.pid.to_string()).stderr_has("fairshare release --stop");
    eprintln!("{}", refused.stderr());
    assert!(stubborn.is_running(), "a refused release killed");
    assert_eq!(guest.cgroup(SLICE, "memory.max"), "134217728");

    let started = guest.root("cut -d ' ' -f 1 /proc/uptime").text();
    let released = guest.as_user("alice", "fairshare release --stop").expect_ok().stdout_has("Released");
    eprintln!("{}{}", released.stderr(), released.stdout());
    let ended =
        guest.root("cut -d ' ' -f 1 /proc/uptime; cat /tmp/term").expect_ok().stdout_has("term").text();
    let seconds = |text: &str| text.lines().next().unwrap().parse::<f64>().unwrap();
    let took = seconds(&ended) - seconds(&started);
    assert!((9.5..40.0).contains(&took), "SIGKILL came {took} s after SIGTERM, not 10 s");
    assert!(!stubborn.is_running());
    assert!(!guest.cgroup_exists(SLICE));
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("none");
    guest
        .as_user("alice", "fairshare request --cpu 0.5 --mem 64M > /dev/null && fairshare run -- true")
        .expect_ok();
});

guest_test!(page_cache_keeps_no_share_from_being_made_smaller, |guest: Guest| {
    guest.as_user("alice", "head -c 250M /dev/zero > big && sync").expect_ok();
    guest.root("echo 3 > /proc/sys/vm/drop_caches").expect_ok();
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 500M").expect_ok();
    guest.as_user("alice", "fairshare run -- cat big > /dev/null").expect_ok();
    let used: u64 = guest.cgroup(SLICE, "memory.current").parse().expect("a number");
    assert!(used > 200 << 20, "{used}: the file is not in the cache of the share");
    let status = guest.as_user("alice", "fairshare status --json").expect_ok().json();
    let usage = &status["share"]["usage"];
    let (counted, needed) = (usage["mem_bytes"].as_u64(), usage["needed_bytes"].as_u64());
    assert!(counted > Some(200 << 20) && needed.is_some_and(|needed| needed < 50 << 20), "{usage}");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has(" with files)");
    // PID 1 sets the limit, and answers others meanwhile.
    let asked = "worst=0; until test -e /tmp/over; do began=$(date +%s%3N); systemctl show -P NNames > /dev/null || exit; \
                 took=$(($(date +%s%3N) - began)); test $took -le $worst || worst=$took; echo $worst > /tmp/worst; done";
    let others = guest.command(asked).spawn();
    guest.await_cmd("test -e /tmp/worst");
    let began = std::time::Instant::now();
    guest.as_user("alice", "fairshare resize --mem 150M").expect_ok();
    let took = began.elapsed();
    guest.root("touch /tmp/over").expect_ok();
    others.wait().expect_ok();
    eprintln!("{took:?}, and PID 1 took {} ms for others", guest.root("cat /tmp/worst").expect_ok().text());
    assert_eq!(guest.cgroup(SLICE, "memory.max"), (150_u64 << 20).to_string());
    // What a program holds is in use: nobody dies of a resize.
    let holds = "x=bytearray(100<<20); open('held','w').close(); import time; time.sleep(1000)";
    let program =
        guest.command(&format!("exec fairshare run -- python3 -c \"{holds}\"")).user("alice").spawn();
    guest.await_cmd("test -e ~alice/held");
    guest.as_user("alice", "fairshare resize --mem 90M").expect_code(75).stderr_has("Memory in use");
    assert_eq!(guest.cgroup(SLICE, "memory.max"), (150_u64 << 20).to_string());
    guest.as_user("alice", "fairshare resize --mem 140M").expect_ok();
    let events = guest.root(&format!("cat /sys/fs/cgroup/{SLICE}/memory.events")).expect_ok().text();
    assert!(events.contains("oom_kill 0"), "{events}");
    program.kill("KILL");
});
