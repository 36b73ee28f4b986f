//! Random messages, random damage, random splits.

use std::collections::BTreeMap;

use fairshare::contract::{
    Amounts, Answer, Attach, Body, Call, EventInfo, InUnit, Ping, Pong, Release, Renew, Request,
    RequestResources, Response, Status, Submit, Subscribe, decode_request, decode_response,
};
use fairshare::wire::detail::Detail;
use fairshare::wire::error::WireError;
use fairshare::wire::frame::{FrameBuffer, FrameError};
use fairshare::wire::hello::{Hello, decode_hello, decode_hello_reply};
use fairshare::wire::os_text::OsText;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::messages::{self, Message};

fn amounts() -> impl Strategy<Value = Amounts> {
    (option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()))
        .prop_map(|(cpu_milli, mem_bytes, tasks_max)| Amounts { cpu_milli, mem_bytes, tasks_max })
}

/// Text, or bytes that hardly ever are one.
fn os_text() -> impl Strategy<Value = OsText> {
    prop_oneof![any::<String>().prop_map(OsText::from), vec(any::<u8>(), 0..9).prop_map(OsText::from)]
}

fn submission() -> impl Strategy<Value = Submit> {
    let env = btree_map(os_text(), os_text(), 0..5);
    let name = option::of("[a-z]{1,64}");
    let rest = (name, option::of(any::<u64>()), option::of(any::<bool>()));
    (vec(os_text(), 1..5), os_text(), env, amounts(), rest).prop_map(
        |(argv, cwd, env, amounts, (name, lease_ms, wait)): (_, _, BTreeMap<_, _>, _, _)| Submit {
            argv,
            cwd,
            env,
            name,
            lease_ms,
            wait,
            ..Submit::of(amounts)
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let id = option::of(any::<u64>());
    let flag = option::of(any::<bool>());
    prop_oneof![
        Just(Call::Ping(Ping {})),
        id.clone().prop_map(|for_uid| Call::Status(Status { for_uid })),
        (amounts(), id.clone(), flag.clone(), id.clone()).prop_map(|(amounts, lease_ms, wait, for_uid)| {
            Call::RequestResources(RequestResources {
                lease_ms,
                wait,
                for_uid,
                ..RequestResources::of(amounts)
            })
        }),
        (any::<u64>(), id.clone(), id.clone()).prop_map(|(lease_ms, job_id, for_uid)| Call::Renew(Renew {
            lease_ms,
            job_id,
            for_uid
        })),
        (flag.clone(), id.clone(), id.clone()).prop_map(|(stop, job_id, for_uid)| Call::Release(Release {
            stop,
            job_id,
            for_uid
        })),
        vec(any::<u64>(), 1..=64).prop_map(|pids| Call::Attach(Attach { pids })),
        submission().prop_map(Call::Submit),
        (flag, id).prop_map(|(all, job_id)| Call::Subscribe(Subscribe { all, job_id })),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let error = (any::<u64>(), any::<String>(), any::<String>(), option::of(any::<String>()));
    let event = (any::<u64>(), any::<String>(), option::of(any::<String>()), option::of(any::<u64>()));
    prop_oneof![
        any::<u64>().prop_map(|at_ms| Body::Ok(Answer::Pong(Pong { at_ms }))),
        (any::<String>(), any::<u64>(), any::<u64>()).prop_map(|(unit, cpu_milli, mem_bytes)| {
            Body::Ok(Answer::Unit(InUnit { unit, cpu_milli, mem_bytes, job_id: None }))
        }),
        (error, any::<bool>(), option::of(any::<u64>())).prop_map(
            |((code, name, message, detail), retryable, retry_after_ms)| {
                let detail = detail.map(Detail::text).map(Box::new);
                Body::Err(WireError { code, name, message, detail, retryable, retry_after_ms })
            }
        ),
        event.prop_map(|(at_ms, kind, message, lagged)| {
            let (uid, job_id, job, share, allocation) = (lagged, None, None, None, None);
            let event = EventInfo { at_ms, kind, uid, job_id, job, share, allocation, message, lagged };
            Body::Event(Box::new(event))
        }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let goldens: Vec<Message> = messages::all().into_iter().map(|(_, message)| message).collect();
    let hello = (any::<u64>(), "[ -~]{1,64}", "[ -~]{1,64}", vec(any::<String>(), 0..4));
    prop_oneof![
        (0..goldens.len()).prop_map(move |index| goldens[index].clone()),
        hello.prop_map(|(protocol_version, client_name, client_version, supports)| {
            Message::Hello(Hello { protocol_version, client_name, client_version, supports })
        }),
        (any::<u64>(), any::<u64>(), call()).prop_map(|(v, request_id, call)| Message::Request(Request {
            v,
            request_id,
            call
        })),
        (any::<u64>(), any::<u64>(), body()).prop_map(|(v, request_id, body)| Message::Response(Response {
            v,
            request_id,
            body
        })),
    ]
}

/// Gives `payload` to everything that decodes; that it comes back is what is tested.
fn survives(payload: &[u8]) {
    let _ = decode_hello(payload);
    let _ = decode_request(payload);
    let _ = decode_hello_reply(payload);
    let _ = decode_response(payload);
}

/// Feeds `stream` in pieces of these sizes, over and over.
fn cut(stream: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let (mut buffer, mut frames, mut rest) = (FrameBuffer::new(), Vec::new(), stream);
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let space = buffer.space()?;
        let count = space.len().min(*piece).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        frames.extend(buffer.filled(count));
    }
    buffer.space().map(|_| frames)
}

proptest! {
    #[test]
    fn what_is_sent_is_what_arrives(message in message()) {
        let frame = message.frame();
        prop_assert_eq!(message.decode(&frame[4..]), Ok(message));
    }

    #[test]
    fn what_is_taken_is_sent_again_in_one_form(message in message(), flips in vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
        let mut payload = message.frame().split_off(4);
        for (index, bit) in flips {
            let length = payload.len();
            payload[index.index(length)] ^= 1 << (bit % 8);
        }
        survives(&payload);
        if let Ok(taken) = message.decode(&payload) {
            let again = taken.frame();
            prop_assert_eq!(taken.decode(&again[4..]), Ok(taken));
        }
    }

    #[test]
    fn noise_is_survived(payload in vec(any::<u8>(), 0..200)) {
        survives(&payload);
    }

    #[test]
    fn any_split_gives_the_same_frames(messages in vec(message(), 1..5), pieces in vec(1_usize..50, 1..9)) {
        let stream: Vec<u8> = messages.iter().flat_map(Message::frame).collect();
        let payloads: Vec<Vec<u8>> = messages.iter().map(|message| message.frame().split_off(4)).collect();
        prop_assert_eq!(cut(&stream, &pieces), Ok(payloads));
    }
}
