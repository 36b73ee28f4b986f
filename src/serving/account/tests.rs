use super::*;

fn uid(raw: u64) -> Uid {
    Uid::new(raw).expect("a user")
}

/// A user whom nobody else takes anything from.
fn user(raw: u64) -> User {
    User::of(uid(raw), Arc::default())
}

/// The contract's figures, written down once more here.
#[test]
fn nobody_takes_the_last_connections_from_the_others() {
    let (mut users, now) = (Users::default(), Instant::now());
    let mut open = Vec::new();
    for user in 1..=12 {
        for _ in 0..64 {
            open.push(users.connect(uid(user), now).expect("a connection"));
        }
        assert!(users.connect(uid(user), now).unwrap_err().is(Code::Busy));
    }
    // 768 are open: from here on a user has four.
    for user in 13..=72 {
        for _ in 0..4 {
            open.push(users.connect(uid(user), now).expect("a connection"));
        }
        assert_eq!(users.connect(uid(user), now).unwrap_err().retry_after_ms, Some(1000));
    }
    // 1008 are open: from here on they are root's.
    assert!(users.connect(uid(73), now).unwrap_err().is(Code::Busy));
    let mut of_root = Vec::new();
    for _ in 0..16 {
        assert!(users.can_connect());
        of_root.push(users.connect(Uid::ROOT, now).expect("root's own"));
    }
    assert!(!users.can_connect());
    of_root.pop();
    assert!(users.can_connect() && users.connect(uid(73), now).is_err());
    open.pop();
    let _connected = users.connect(uid(73), now).expect("the one that was given back");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_forgotten_when_nothing_counts_any_more() {
    let mut users = Users::default();
    let connected = users.connect(uid(1), Instant::now()).unwrap();
    let known = |users: &mut Users| {
        users.forget(Instant::now());
        users.known.len()
    };
    assert_eq!(known(&mut users), 1);
    let room = connected.hold(1).unwrap();
    drop(connected);
    assert_eq!(known(&mut users), 1, "what is kept of them was forgotten");
    drop(room);
    assert_eq!(known(&mut users), 0);
    let connected = users.connect(uid(1), Instant::now()).unwrap();
    connected.start().await.started();
    drop(connected);
    assert_eq!(known(&mut users), 1, "what was started was forgotten");
    tokio::time::advance(START_PERIOD).await;
    assert_eq!(known(&mut users), 0);
    users.closed_for_violations(uid(1), Instant::now());
    assert_eq!(known(&mut users), 1);
    tokio::time::advance(CLOSINGS_WINDOW).await;
    assert_eq!(known(&mut users), 0);
}

#[test]
fn what_waits_of_all_members_has_a_bound_of_its_own() {
    let all = Arc::<All>::default();
    let members: Vec<User> = (0..32).map(|number| User::of(uid(1000 + number), Arc::clone(&all))).collect();
    let largest = HELD_BYTES_PER_UID_MAX - HELD_BESIDE_BYTES;
    let mut rooms: Vec<_> = members.iter().filter_map(|member| member.hold(largest).ok()).collect();
    assert_eq!(rooms.len(), HELD_BYTES_MAX / HELD_BYTES_PER_UID_MAX);
    let last = members.last().unwrap();
    assert!(last.hold(largest).is_err_and(|none| none == NoRoom::OfAll));
    rooms.pop();
    let _room = last.hold(largest).unwrap();
    assert!(last.hold(0).is_err_and(|none| none == NoRoom::OfOwn));
}

/// Each of them keeps descriptors, however few bytes it has.
#[test]
fn what_waits_of_all_members_is_bounded_in_number_too() {
    let all = Arc::<All>::default();
    let members: Vec<User> = (0..17).map(|number| User::of(uid(1000 + number), Arc::clone(&all))).collect();
    let mut rooms: Vec<_> =
        members.iter().flat_map(|member| (0..256).map_while(|_| member.hold(0).ok())).collect();
    assert_eq!(rooms.len(), HELD_MAX);
    let last = members.last().unwrap();
    assert!(last.hold(0).is_err_and(|none| none == NoRoom::OfAll));
    rooms.pop();
    let _room = last.hold(0).unwrap();
}

/// Who has a user namespace is many users, and each can be turned away.
#[tokio::test(start_paused = true)]
async fn of_however_many_strangers_little_is_remembered_and_told() {
    let mut users = Users::default();
    let (member, guest) = (uid(1), uid(2));
    let connected = users.connect(member, Instant::now()).unwrap();
    let _room = connected.hold(HELD_BYTES_PER_UID_MAX - HELD_BESIDE_BYTES).unwrap();
    drop(connected);
    let _connections: Vec<_> =
        (0..CONNECTIONS_PER_UID_MAX).map(|_| users.connect(guest, Instant::now()).unwrap()).collect();
    let mut told = Vec::new();
    for stranger in 100_000..165_536 {
        drop(users.connect(uid(stranger), Instant::now()).unwrap());
        told.push(users.may_complain(uid(stranger), Instant::now()));
        users.forget(Instant::now());
        assert!(users.known.len() <= REMEMBERED_MAX, "{}", users.known.len());
    }
    let lines = |tell| told.iter().filter(|told| **told == tell).count();
    assert_eq!((lines(Tell::Yes), lines(Tell::NotFromHere)), (300, 1));
    // What is taken is not forgotten.
    assert!(users.connect(guest, Instant::now()).is_err(), "connections were forgotten");
    let again = users.connect(member, Instant::now()).unwrap();
    assert!(again.hold(0).is_err_and(|none| none == NoRoom::OfOwn), "what is kept was forgotten");
    tokio::time::advance(CLOSINGS_WINDOW).await;
    assert_eq!(users.may_complain(uid(100_000), Instant::now()), Tell::Yes);
}

#[test]
fn of_one_users_broken_connections_five_are_told() {
    let (mut users, now) = (Users::default(), Instant::now());
    let told: Vec<_> = (0..8).map(|_| users.may_complain(uid(1), now) == Tell::Yes).collect();
    assert_eq!(told, [true, true, true, true, true, false, false, false]);
    assert_eq!(users.may_complain(uid(2), now), Tell::Yes);
}

#[tokio::test(start_paused = true)]
async fn of_all_large_frames_one_is_decoded_at_a_time() {
    let all = Arc::<All>::default();
    let [alice, bob] = [1000, 1001].map(|raw| User::of(uid(raw), Arc::clone(&all)));
    let mut of_alice = alice.large_frame().await.unwrap();
    of_alice.turn().await.unwrap();
    // Another user's is read meanwhile.
    let mut of_bob = bob.large_frame().await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(60), of_bob.turn()).await;
    assert!(early.is_err(), "both were decoded at once");
    drop(of_alice);
    of_bob.turn().await.unwrap();
}

/// Has so many started, one after the other: how long that took.
async fn starts(user: &User, count: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..count {
        user.start().await.started();
    }
    began.elapsed()
}

/// In whole periods: the clock goes by milliseconds here.
fn periods(took: Duration) -> u128 {
    took.as_millis() / START_PERIOD.as_millis()
}

#[tokio::test(start_paused = true)]
async fn after_many_starts_the_next_wait_for_their_time() {
    let alice = user(1000);
    assert_eq!(starts(&alice, STARTS_MAX).await, Duration::ZERO);
    assert_eq!(periods(starts(&alice, 10).await), 10);
    // What was not started for a while can be started at once, and no more than that.
    tokio::time::advance(START_PERIOD * STARTS_MAX * 2).await;
    assert_eq!(starts(&alice, STARTS_MAX).await, Duration::ZERO);
    assert_eq!(periods(starts(&alice, 1).await), 1);
    assert_eq!(starts(&user(0), 2 * STARTS_MAX).await, Duration::ZERO, "root waits for none");
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_at_once_have_one_turn_each_and_what_starts_nothing_is_given_back() {
    let alice = user(1000);
    for _ in 0..2 * STARTS_MAX {
        drop(alice.start().await);
    }
    let began = Instant::now();
    starts(&alice, STARTS_MAX).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "what started nothing was counted");
    let all = (0..10).map(|_| async { alice.start().await.started() });
    futures_util::future::join_all(all).await;
    assert_eq!(periods(began.elapsed()), 10);
}

#[tokio::test(start_paused = true)]
async fn lines_are_counted_by_the_window() {
    let alice = user(1000);
    assert!(alice.is_blank());
    for _ in 0..2 {
        for _ in 0..CALLS_TOLD_MAX {
            assert_eq!(alice.tell(), Tell::Yes);
        }
        assert_eq!([alice.tell(), alice.tell(), alice.tell()], [Tell::NotFromHere, Tell::No, Tell::No]);
        assert!(!alice.is_blank());
        tokio::time::advance(CALLS_TOLD_WINDOW).await;
        assert!(alice.is_blank());
    }
}
