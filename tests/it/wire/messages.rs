//! One message of every kind, with all that it may have and with no more than it must.

mod arrays;
mod history;
mod shares;

use std::collections::BTreeMap;

use fairshare::contract::*;
use fairshare::wire::detail::{Bound, Detail, Held, Holder, Part, Resource, Room, Versions};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::frame::{FRAME_BYTES_MAX, encode_frame};
use fairshare::wire::hello::{Authz, Hello, HelloAck, HelloReply, Role, decode_hello, decode_hello_reply};
use fairshare::wire::os_text::OsText;

use shares::{allocation_full, allocation_min, capacity, capacity_full, share_full, share_min};

/// Whatever goes into a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Hello(Hello),
    Ack(HelloAck),
    Request(Request),
    Response(Response),
}

impl Message {
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        match self {
            Self::Hello(message) => encode_frame(message, &mut frame),
            Self::Ack(message) => encode_frame(message, &mut frame),
            Self::Request(message) => encode_frame(message, &mut frame),
            Self::Response(message) => encode_frame(message, &mut frame),
        }
        .unwrap();
        frame
    }

    /// What the payload of the same kind decodes to.
    pub fn decode(&self, payload: &[u8]) -> Result<Self, String> {
        match self {
            Self::Hello(_) => decode_hello(payload).map(Self::Hello).map_err(|error| error.to_string()),
            Self::Ack(_) => match decode_hello_reply(payload) {
                Ok(HelloReply::Ack(ack)) => Ok(Self::Ack(ack)),
                other => Err(format!("{other:?}")),
            },
            Self::Request(_) => decode_request(payload).map(Self::Request).map_err(|error| error.to_string()),
            Self::Response(_) => {
                decode_response(payload).map(Self::Response).map_err(|error| error.to_string())
            }
        }
    }

    /// The rule of the schema that it falls under.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Hello(_) | Self::Request(_) => "client-frame",
            Self::Ack(_) | Self::Response(_) => "daemon-frame",
        }
    }
}

/// Every kind of message, by name.
pub fn all() -> Vec<(String, Message)> {
    let mut all = hellos();
    for (request_id, (name, call)) in
        (1..).zip(calls().into_iter().chain(history::calls()).chain(calls_of_later()))
    {
        all.push((format!("request-{name}"), Message::Request(Request { v: 2, request_id, call })));
    }
    for (name, answer) in answers().into_iter().chain(history::answers()).chain(arrays::answers()) {
        all.push((format!("ok-{name}"), response(1, Body::Ok(answer))));
    }
    for (code, detail) in Code::ALL.iter().zip(details().into_iter().chain(std::iter::repeat(None))) {
        let error = WireError::new(*code, "One short sentence.");
        let error = detail.into_iter().fold(error, WireError::detail);
        all.push((format!("err-{:03}-{}", code.number(), code.name()), response(0, Body::Err(error))));
    }
    all.push(("err-full".to_owned(), response(u64::MAX, Body::Err(error()))));
    for (name, event) in events() {
        all.push((format!("event-{name}"), response(9, Body::Event(Box::new(event)))));
    }
    all
}

fn response(request_id: u64, body: Body) -> Message {
    Message::Response(Response { v: 2, request_id, body })
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn hellos() -> Vec<(String, Message)> {
    let hello = Hello {
        protocol_version: 2,
        client_name: text("fairshare"),
        client_version: text("0.1.0"),
        supports: vec![],
    };
    let ack = HelloAck {
        protocol_version: 2,
        daemon_version: text("0.1.0"),
        features: vec![],
        max_frame: FRAME_BYTES_MAX as u64,
        authz: Authz { uid: 1000, gid: 1000, role: Role::Operator },
    };
    let with_role = |role| HelloAck { authz: Authz { role, ..ack.authz }, ..ack.clone() };
    let supporting = Hello { supports: vec![text("a"), text("of-the-future")], ..hello.clone() };
    let featured = HelloAck { features: vec![text("a")], ..with_role(Role::ReadOnly) };
    vec![
        (text("hello-min"), Message::Hello(hello)),
        (text("hello-full"), Message::Hello(supporting)),
        (text("hello-ack-min"), Message::Ack(ack.clone())),
        (text("hello-ack-full"), Message::Ack(featured)),
        (text("hello-ack-admin"), Message::Ack(with_role(Role::Admin))),
    ]
}

const AMOUNTS: Amounts = Amounts { cpu_milli: Some(2000), mem_bytes: Some(8 << 30), tasks_max: Some(4096) };
const NOTHING: Amounts = Amounts { cpu_milli: None, mem_bytes: None, tasks_max: None };

#[rustfmt::skip]
fn calls() -> Vec<(&'static str, Call)> {
    let bytes = |bytes: &[u8]| OsText::from(bytes.to_vec());
    let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("EMPTY".into(), "".into()), (bytes(b"V\xe9"), bytes(b"\xff"))]);
    let submit_full = Submit { argv: vec!["make".into(), "-j4".into(), "".into(), "é".into(), bytes(b"caf\xe9")], cwd: bytes(b"/home/alice/\xe9"), env, name: Some(text("nightly")), lease_ms: Some(3_600_000), wait: Some(true), in_share: Some(true), input: Some(bytes(b"/\xe9")), output: Some("/home/alice/%j.txt".into()), errors: Some("/dev/null".into()), script: Some(bytes(b"#!/bin/sh\n\xe9\n")), ..Submit::of(AMOUNTS) };
    let submit_files = Submit { argv: vec!["true".into()], cwd: "/".into(), input: Some("/dev/stdin".into()), output: Some(bytes(b"/\xe9")), errors: Some(bytes(b"/\xe9-%j")), script: Some("true\n".into()), ..Submit::default() };
    let submit_min = Submit { argv: vec!["true".into()], cwd: "/".into(), env: BTreeMap::new(), name: None, lease_ms: None, wait: None, ..Submit::of(NOTHING) };
    vec![
        ("ping", Call::Ping(Ping {})),
        ("health", Call::Health(Health {})),
        ("status-min", Call::Status(Status { for_uid: None })),
        ("status-full", Call::Status(Status { for_uid: Some(1001) })),
        ("list", Call::List(List {})),
        ("policy-min", Call::Policy(Policy { for_uid: None })),
        ("policy-full", Call::Policy(Policy { for_uid: Some(1001) })),
        ("request_resources-min", Call::RequestResources(RequestResources { lease_ms: None, wait: None, for_uid: None, ..RequestResources::of(NOTHING) })),
        ("request_resources-full", Call::RequestResources(RequestResources { lease_ms: Some(28_800_000), wait: Some(true), for_uid: Some(1001), ..RequestResources::of(AMOUNTS) })),
        ("resize-min", Call::Resize(Resize { for_uid: None, ..Resize::of(NOTHING) })),
        ("resize-full", Call::Resize(Resize { for_uid: Some(1001), ..Resize::of(AMOUNTS) })),
        ("renew-min", Call::Renew(Renew { lease_ms: 0, job_id: None, for_uid: None })),
        ("renew-full", Call::Renew(Renew { lease_ms: 604_800_000, job_id: None, for_uid: Some(1001) })),
        ("release-min", Call::Release(Release { job_id: None, stop: None, for_uid: None })),
        ("release-full", Call::Release(Release { job_id: None, stop: Some(true), for_uid: Some(1001) })),
        ("run", Call::Run(Run::default())),
        ("attach-min", Call::Attach(Attach { pids: vec![2] })),
        ("attach-full", Call::Attach(Attach { pids: (100..164).collect() })),
        ("submit-min", Call::Submit(submit_min)),
        ("submit-full", Call::Submit(submit_full)),
        ("job_status", Call::JobStatus(JobStatus { job_id: 17 })),
        ("job_list-min", Call::JobList(JobList { all: None })),
        ("job_list-full", Call::JobList(JobList { all: Some(true) })),
        ("job_cancel", Call::JobCancel(JobCancel { job_id: 17 })),
        ("job_fetch", Call::JobFetch(JobFetch { job_id: 17, at_end: None })),
        ("subscribe-min", Call::Subscribe(Subscribe { all: None, job_id: None })),
        ("subscribe-full", Call::Subscribe(Subscribe { all: Some(false), job_id: Some(17) })),
        ("reload", Call::Reload(Reload {})),
        ("drain", Call::Drain(Drain {})),
        ("undrain", Call::Undrain(Undrain {})),
        ("dump", Call::Dump(Dump {})),
        ("log-error", Call::Log(Log { level: LogLevel::Error })),
        ("log-warn", Call::Log(Log { level: LogLevel::Warn })),
        ("log-info", Call::Log(Log { level: LogLevel::Info })),
        ("log-debug", Call::Log(Log { level: LogLevel::Debug })),
        ("log-trace", Call::Log(Log { level: LogLevel::Trace })),
        ("audit", Call::Audit(Audit {})),
        ("submit-files", Call::Submit(submit_files)),
        ("run-full", Call::Run(Run { lease_ms: Some(60_000), wait: Some(true), in_share: Some(false), ..Run::of(AMOUNTS) })),
        ("run-awaited", Call::Run(Run { job_id: Some(17), ..Run::default() })),
        ("resize-job", Call::Resize(Resize { job_id: Some(17), ..Resize::of(AMOUNTS) })),
        ("renew-job", Call::Renew(Renew { lease_ms: 60_000, job_id: Some(17), for_uid: None })),
        ("release-job", Call::Release(Release { job_id: Some(17), stop: None, for_uid: None })),
        ("submit-when", Call::Submit(Submit { argv: vec!["true".into()], cwd: "/".into(), wait: Some(true), after: Some(vec![17, 18]), after_any: Some((1..33).collect()), begin_ms: Some(1_700_010_800_000), hold: Some(true), priority: Some(90), ..Submit::default() })),
        ("job_alter-min", Call::JobAlter(JobAlter { job_id: 17, ..JobAlter::default() })),
        ("job_alter-full", Call::JobAlter(JobAlter { job_id: 17, hold: Some(false), first: Some(true), priority: Some(100), pause: None })),
        ("submit-array", Call::Submit(Submit { argv: vec!["true".into()], cwd: "/".into(), wait: Some(true), array: Some(ArrayRange { first: 1, last: 100, step: None, at_once: None }), ..Submit::default() })),
        ("submit-array-full", Call::Submit(Submit { argv: vec!["true".into()], cwd: "/".into(), array: Some(ArrayRange { first: 0, last: 90, step: Some(10), at_once: Some(4) }), ..Submit::default() })),
    ]
}

/// What came after those of the history: requests are numbered in a row.
fn calls_of_later() -> Vec<(&'static str, Call)> {
    let care = |oom, signal| {
        Call::Submit(Submit { argv: vec!["true".into()], cwd: "/".into(), signal, oom, ..Submit::default() })
    };
    let warning = Warning { number: 10, before_ms: 300_000 };
    let submit = Submit { argv: vec!["true".into()], cwd: "/".into(), ..Submit::default() };
    vec![
        (
            "job_alter-pause",
            Call::JobAlter(JobAlter { job_id: 17, pause: Some(true), ..JobAlter::default() }),
        ),
        ("submit-again", Call::Submit(Submit { retry: Some(3), requeue: Some(true), ..submit.clone() })),
        ("submit-warned", care(Some(OutOfMemory::Continue), Some(warning))),
        ("submit-killed", care(Some(OutOfMemory::Kill), None)),
        ("submit-notify", Call::Submit(Submit { notify: Some("./tell".into()), ..submit.clone() })),
        ("job_fetch-at_end", Call::JobFetch(JobFetch { job_id: 17, at_end: Some(true) })),
        ("submit-notify-bytes", Call::Submit(Submit { notify: Some(b"caf\xe9".to_vec().into()), ..submit })),
    ]
}

/// Each resource, bound and role, of what the error with all that it may have has one, empty lists, and an empty detail.
fn details() -> Vec<Option<Detail>> {
    use Resource::*;
    let roles = [Role::ReadOnly, Role::Admin].map(|role| Detail { role: Some(role), ..Detail::default() });
    let over = [(CpuMilli, Bound::Policy), (MemBytes, Bound::Share), (TasksMax, Bound::Machine)]
        .map(|(resource, bound)| Detail { bound: Some(bound), ..Detail::over(resource, 16_000, 8000) });
    let full = [Jobs, Scopes, Connections].map(|resource| Detail::full(resource, 256));
    let empty = Detail { held_by: Some(vec![]), lacking: Some(vec![]), ..Detail::default() };
    let details = over.into_iter().chain(full).chain(roles).chain([empty, Detail::default()]);
    details.map(Some).collect()
}

fn error() -> WireError {
    let room = Room { cpu_milli: 2000, mem_bytes: 8 << 30 };
    let holder = |user| Holder { uid: 1001, user, cpu_milli: 4000, mem_bytes: 16 << 30 };
    let detail = Detail {
        resource: Some(Resource::LeaseMs),
        asked: Some(4000),
        allowed: Some(8000),
        least: Some(10),
        in_use: Some(1),
        bound: Some(Bound::Policy),
        held: Some(Held { cpu_milli: 500, mem_bytes: 1 << 20, tasks_max: 16 }),
        free: Some(room),
        fits: Some(room),
        waiting: Some(1),
        starts_ms: Some(1_700_010_800_000),
        held_by: Some(vec![holder(Some(text("alice"))), holder(None)]),
        job_id: Some(17),
        in_force: Some(false),
        role: Some(Role::Operator),
        setting: Some(text("from_sandboxes")),
        group: Some(text("fairshare")),
        lacking: Some(vec![
            Part::Policy,
            Part::State,
            Part::Bus,
            Part::Controllers,
            Part::Names,
            Part::Users,
        ]),
        versions: Some(Versions { oldest: 2, newest: 2 }),
        text: Some(text("what systemd said")),
    };
    WireError::new(Code::NoCapacity, "There is no room for 4 CPU now.")
        .detail(detail)
        .retry_after_ms(10_800_000)
}

pub fn job_min(kind: JobKind, state: JobState) -> JobInfo {
    JobInfo {
        job_id: 17,
        uid: 1001,
        kind,
        state,
        created_ms: 1_700_000_000_000,
        started_ms: None,
        ended_ms: None,
        name: None,
        unit: None,
        place: None,
        starts_ms: None,
        exit_code: None,
        signal: None,
        oom: None,
        peak_mem_bytes: None,
        needed_bytes: None,
        mem_limit_bytes: None,
        cpu_usec: None,
        error: None,
        waits_for: None,
        array: None,
        task: None,
        paused: None,
        about: None,
        limits: None,
        starts_after: None,
        again: None,
        warning: None,
        oom_kills: None,
    }
}

fn job_full() -> JobInfo {
    JobInfo {
        job_id: 17,
        uid: 1001,
        kind: JobKind::Submit,
        state: JobState::Failed,
        created_ms: 1_700_000_000_000,
        started_ms: Some(1_700_000_001_000),
        ended_ms: Some(1_700_000_002_000),
        name: Some(text("nightly")),
        unit: Some(text("fairshare-1001-job17.service")),
        place: Some(1),
        starts_ms: Some(1_700_000_001_000),
        exit_code: Some(1),
        signal: Some(9),
        oom: Some(true),
        peak_mem_bytes: Some(1 << 30),
        needed_bytes: Some(64 << 20),
        mem_limit_bytes: Some(2 << 30),
        cpu_usec: Some(1_000_000),
        error: Some(Box::new(error())),
        waits_for: None,
        array: None,
        task: None,
        paused: None,
        about: Some(true),
        limits: Some(Box::new(AMOUNTS)),
        starts_after: Some(16),
        again: None,
        warning: None,
        oom_kills: None,
    }
}

fn waits_for_full() -> WaitsFor {
    WaitsFor {
        after: Some(vec![17, 18]),
        begin_ms: Some(1_700_010_800_000),
        hold: Some(true),
        last_try: Some(true),
        room: Some(true),
        max: Some(true),
        running: Some(true),
    }
}

#[rustfmt::skip]
fn answers() -> Vec<(&'static str, Answer)> {
    let figures = |cpu_milli| AmountInfo { cpu_milli, mem_bytes: 8 << 30, tasks_max: 4096 };
    let policy_min = PolicyInfo {
        defaults: figures(2000), max: figures(8000), lease_default_ms: None, lease_max_ms: None, idle_ms: None, burst_cpu_milli: None,
        role: Role::Operator, from_sandboxes: false, io: None, key: None,
    };
    let policy_full = PolicyInfo {
        lease_default_ms: Some(28_800_000), lease_max_ms: Some(604_800_000), idle_ms: Some(1_800_000),
        burst_cpu_milli: Some(15_500), from_sandboxes: true,
        ..policy_min.clone()
    };
    let io = |figure: Option<u64>, on: &[&str]| {
        let on = on.iter().copied().map(text).collect();
        Some(IoInfo { read_bytes: figure, write_bytes: figure, read_ops: figure, write_ops: figure, on })
    };
    let policy_io = PolicyInfo { io: io(Some(1 << 20), &["/home", "/scratch"]), ..policy_min.clone() };
    let policy_io_min = PolicyInfo { io: io(None, &[]), ..policy_min.clone() };
    let key = KeyInfo { held_milli: 120, had_milli: Some(40), waits: true, others: 7, before: 3 };
    let policy_of = |role| PolicyInfo { role, ..policy_min.clone() };
    let checks = vec![
        Check { name: text("bus"), ok: true, detail: None },
        Check { name: text("policy"), ok: false, detail: Some(text("default.yaml:3:1: no such key")) },
    ];
    let states = vec![
        job_full(),
        job_min(JobKind::Request, JobState::Queued), job_min(JobKind::Release, JobState::Running),
        job_min(JobKind::Submit, JobState::Done), job_min(JobKind::Submit, JobState::Cancelled),
        job_min(JobKind::Submit, JobState::Interrupted), job_min(JobKind::Run, JobState::Running),
    ];
    vec![
        ("pong", Answer::Pong(Pong { at_ms: 1_700_000_000_123 })),
        ("health-min", Answer::Health(HealthAnswer { healthy: true, checks: vec![] })),
        ("health-full", Answer::Health(HealthAnswer { healthy: false, checks })),
        ("status-min", Answer::Status(StatusAnswer { share: None, capacity: capacity() })),
        ("status-full", Answer::Status(StatusAnswer { share: Some(share_full()), capacity: capacity_full() })),
        ("list-min", Answer::List(ListAnswer { shares: vec![], capacity: capacity(), shares_left_out: None })),
        ("list-full", Answer::List(ListAnswer { shares: vec![share_full(), share_min()], capacity: capacity(), shares_left_out: Some(2) })),
        ("policy-min", Answer::Policy(PolicyAnswer { policy: policy_min.clone() })),
        ("policy-full", Answer::Policy(PolicyAnswer { policy: policy_full })),
        ("policy-read_only", Answer::Policy(PolicyAnswer { policy: policy_of(Role::ReadOnly) })),
        ("policy-admin", Answer::Policy(PolicyAnswer { policy: policy_of(Role::Admin) })),
        ("share-min", Answer::Share(HeldShare { share: ShareInfo { usage: Some(Usage::default()), allocations: Some(vec![]), ..share_min() } })),
        ("share-full", Answer::Share(HeldShare { share: share_full() })),
        ("released", Answer::Released(Released { released: true })),
        ("unit", Answer::Unit(InUnit { unit: text("fairshare-1001-own-run1.scope"), cpu_milli: 2000, mem_bytes: 8 << 30, job_id: None })),
        ("job_started", Answer::JobStarted(JobStarted { job_started: 17 })),
        ("job-min", Answer::Job(OneJob::of(job_min(JobKind::Request, JobState::Queued)))),
        ("job-full", Answer::Job(OneJob::of(job_full()))),
        ("jobs-min", Answer::Jobs(Jobs { jobs: vec![], jobs_left_out: None })),
        ("jobs-full", Answer::Jobs(Jobs { jobs: states, jobs_left_out: Some(3) })),
        ("handed", Answer::Handed(Handed { handed: 4, cpu_milli: 500, mem_bytes: 64 << 20, task: None, tries: None })),
        ("subscribed", Answer::Subscribed(Subscribed { subscribed: true })),
        ("changed", Answer::Changed(Changed { changed: false })),
        ("dump-min", Answer::Dump(DumpAnswer { dump: dump_min() })),
        ("dump-full", Answer::Dump(DumpAnswer { dump: dump_full() })),
        ("audit-min", Answer::Audit(AuditAnswer { findings: vec![], findings_left_out: None })),
        ("audit-full", Answer::Audit(AuditAnswer { findings: findings(), findings_left_out: Some(3) })),
        ("policy-io", Answer::Policy(PolicyAnswer { policy: policy_io })),
        ("policy-io-min", Answer::Policy(PolicyAnswer { policy: policy_io_min })),
        ("job-apart", Answer::Job(OneJob::of(JobInfo { waits_for: Some(Box::new(waits_for_full())), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("job-apart-after", Answer::Job(OneJob::of(JobInfo { waits_for: Some(Box::new(WaitsFor { after: Some(vec![]), ..WaitsFor::default() })), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("job-apart-min", Answer::Job(OneJob::of(JobInfo { waits_for: Some(Box::default()), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("job-output", Answer::Job(OneJob { job: job_min(JobKind::Submit, JobState::Running), output: Some(text("/home/alice/fairshare-7.out")) })),
        ("unit-own", Answer::Unit(InUnit { unit: text("fairshare-1001-run17-run1.scope"), cpu_milli: 2000, mem_bytes: 8 << 30, job_id: Some(17) })),
        ("job-paused", Answer::Job(OneJob::of(JobInfo { paused: Some(true), ..job_min(JobKind::Submit, JobState::Running) }))),
        ("job-limits-min", Answer::Job(OneJob::of(JobInfo { limits: Some(Box::new(NOTHING)), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("policy-key", Answer::Policy(PolicyAnswer { policy: PolicyInfo { key: Some(key), ..policy_min.clone() } })),
        ("policy-key-min", Answer::Policy(PolicyAnswer { policy: PolicyInfo { key: Some(KeyInfo { had_milli: None, ..key }), ..policy_min.clone() } })),
    ]
}

/// One of each kind.
fn findings() -> Vec<Finding> {
    use FindingKind::*;
    let outside = Finding {
        hint: Some(text("fairshare attach 4121 4122")),
        uid: Some(1001),
        unit: Some(text("system.slice/cron.service")),
        processes: Some(3),
        mem_bytes: Some(2 << 30),
        pids: Some(vec![4121, 4122]),
        ..Finding::new(Outside, "alice: 3 processes, 2.0 GiB, in system.slice/cron.service")
    };
    let short = [Kept, Broken, Left, Unknown, Note].map(|kind| Finding::new(kind, "what there is to say"));
    let held = Finding { pids: Some(vec![]), ..Finding::new(Held, "nothing that may be moved") };
    short.into_iter().chain([held, outside]).collect()
}

fn dump_min() -> DumpInfo {
    DumpInfo {
        at_ms: 1_700_000_000_123,
        boot: text("8c2f0b52-1f77-4c0c-9d7c-3f8e8a4b6a11"),
        revision: 42,
        next_job: 18,
        draining: false,
        capacity: capacity(),
        half_life_ms: 604_800_000,
        past_use: vec![],
        past_use_left_out: None,
        allocations: vec![],
        allocations_left_out: None,
        jobs: vec![],
        jobs_left_out: 0,
    }
}

/// With each phase that an allocation can be in.
fn dump_full() -> DumpInfo {
    use AllocationPhase::*;
    let phases = [Granting, Active, Resizing, Lowering, Renewing, Releasing];
    let held =
        |phase| AllocationDump { uid: 1001, user: None, allocation: allocation_min(), phase, job_id: None };
    let stopping = AllocationDump {
        user: Some(text("alice")),
        allocation: AllocationInfo { usage: None, ..allocation_full() },
        job_id: Some(17),
        ..held(Stopping)
    };
    DumpInfo {
        draining: true,
        capacity: capacity_full(),
        past_use: vec![PastUse { uid: 1001, used_ms: 3_600_000 }],
        past_use_left_out: Some(4),
        allocations: phases.into_iter().map(held).chain([stopping]).collect(),
        allocations_left_out: Some(2),
        jobs: vec![job_full()],
        jobs_left_out: 3,
        ..dump_min()
    }
}

fn events() -> Vec<(&'static str, EventInfo)> {
    let min = EventInfo {
        at_ms: 1_700_000_000_000,
        kind: text("drained"),
        uid: None,
        job_id: None,
        job: None,
        share: None,
        allocation: None,
        message: None,
        lagged: None,
    };
    let full = EventInfo {
        kind: text("job"),
        uid: Some(1001),
        job_id: Some(17),
        job: Some(job_full()),
        share: Some(ShareInfo { allocations: None, ..share_full() }),
        allocation: Some(allocation_full()),
        message: Some(text("nightly failed")),
        lagged: Some(3),
        ..min.clone()
    };
    vec![("min", min), ("full", full)]
}
