//! The error codes against the contract's own table.

use fairshare::wire::detail::{Detail, Holder};
use fairshare::wire::error::{Code, WireError};

/// The table of the contract, copied from its page and not from our code.
const TABLE: &str = "
| 1 | BadRequest | no | does not parse, wrong type, figure out of range |
| 2 | IncompatibleProtocol | no | version |
| 3 | Unauthorized | no | the peer's identity cannot be had from the kernel |
| 4 | Forbidden | no | role too low, or someone else's thing |
| 5 | NotFound | no | no such share, job, unit, user |
| 6 | Busy | yes | processes inside, too many connections |
| 7 | Timeout | yes | a deadline passed |
| 8 | Cancelled | no | the job was cancelled |
| 9 | Io | yes | state could not be written: nothing was granted |
| 10 | Systemd | yes | bus or manager failed: what systemd said is in detail |
| 11 | OverLimit | no | more than the policy's max: `Requested CPU (16) exceeds maximum allowed (8)` |
| 12 | NoCapacity | yes | not now: detail says what is free, what would fit, and when it will fit if leases tell |
| 13 | AlreadyAllocated | no | a share is held: release or resize |
| 14 | RateLimited | yes | |
| 15 | Interrupted | yes | the daemon restarted while the job ran |
| 16 | CleanupFailed | no | cancelled, but something could not be undone: detail says what stands |
| 17 | Draining | yes | an admin stopped new requests, or the daemon is stopping |
| 18 | Degraded | yes | policy, state file or bus cannot be used: detail says which, and where |
| 255 | Internal | no | a bug: the journal has it under this request_id |
";

/// The endpoints that the contract calls idempotent.
const IDEMPOTENT: &str = "audit, ping, health, status, list, policy, job_status, job_list, resize, release, job_cancel, job_alter, drain, undrain, reload, dump, log, history";

#[test]
fn codes_are_those_of_the_table() {
    let table: Vec<(u64, &str, bool)> = TABLE
        .trim()
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].parse().unwrap(), cells[2], cells[3] == "yes")
        })
        .collect();
    let ours: Vec<_> = Code::ALL.iter().map(|code| (code.number(), code.name(), code.retryable())).collect();
    assert_eq!(ours, table);
    for (number, name, retryable) in table {
        let code = Code::from_number(number).unwrap();
        let error = WireError::new(code, "m");
        assert_eq!((error.code, error.name.as_str(), error.retryable), (number, name, retryable));
    }
    assert_eq!(Code::from_number(0), None);
    assert_eq!(Code::from_number(19), None);
}

#[test]
fn the_idempotent_endpoints_are_those_of_the_contract() {
    use fairshare::contract::{Endpoint, Repeat};
    let mut listed: Vec<&str> = IDEMPOTENT.split(", ").collect();
    let mut ours: Vec<&str> = Endpoint::ALL
        .iter()
        .filter(|endpoint| endpoint.repeat() == Repeat::Yes)
        .map(|endpoint| endpoint.name())
        .collect();
    listed.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, listed);
    for endpoint in Endpoint::ALL {
        assert_eq!(Endpoint::from_name(endpoint.name()), Some(*endpoint));
    }
}

#[test]
fn where_nobody_holds_anything_no_holder_is_told_of() {
    let told = |held_by| {
        let detail = Detail { held_by: Some(held_by), waiting: Some(2), ..Detail::default() };
        WireError::new(Code::NoCapacity, "m").detail(detail).more().unwrap()
    };
    assert_eq!(told(vec![]), "waiting before you: 2");
    let holder = Holder { uid: 1001, user: None, cpu_milli: 4000, mem_bytes: 16 << 30 };
    assert!(told(vec![holder]).contains("held by: uid 1001"));
}
