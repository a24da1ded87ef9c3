//! The message itself: clean on the wire whatever it holds, asked for only when upstream waits for it, never half
//! delivered.

use bytes::Bytes;
use proptest::prelude::*;
use waxseal::deliver::{Facts, Outbound};
use waxseal::message::Body;

use super::{SHORT, ample, client, deliver, envelope, mail, patient, said};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

fn of_chunks(chunks: &[&[u8]]) -> Outbound {
    let chunks = chunks.iter().filter(|c| !c.is_empty()).map(|c| Bytes::copy_from_slice(c)).collect();
    Outbound::new(envelope(&["b@y.test"]), Body { chunks })
}

fn assert_clean(wire: &[u8]) {
    let shown = String::from_utf8_lossy(wire);
    assert!(wire.ends_with(b"\r\n.\r\n") || wire == b".\r\n", "no end: {shown:?}");
    for (i, octet) in wire.iter().enumerate() {
        assert!(*octet != b'\n' || (i > 0 && wire[i - 1] == b'\r'), "bare LF: {shown:?}");
        assert!(*octet != b'\r' || wire.get(i + 1) == Some(&b'\n'), "bare CR: {shown:?}");
    }
}

/// What ends DATA somewhere else must neither end it here nor leave as it is.
#[tokio::test]
async fn smuggling_vectors_leave_clean() {
    let vectors: [&[u8]; 20] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n.\r",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\r\n.\r\n",
        b"\r\n.\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n. \r\n",
        b"\r",
        b"\n",
        b".",
        b"\r\n.",
        b"..",
    ];
    let server = ScriptedUpstream::start(Script::new()).await;
    let upstream = client(&server, patient());
    let mut sent = 0;
    for vector in vectors {
        let evil = [vector, b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@y.test>\r\nDATA\r\nx\r\n.\r\n"].concat();
        for (head, tail) in
            [(b"A: b\r\n\r\nSTART".as_slice(), evil.as_slice()), (b"", vector), (b".x: y\r\n\r\nA", vector)]
        {
            // in one piece, and with the seam inside the vector
            for seam in [0, vector.len() / 2, tail.len()] {
                let outbound = of_chunks(&[head, &tail[..seam], &tail[seam..]]);
                assert_eq!(deliver(&upstream, outbound).await, ["accepted: 250 2.0.0 queued as Q1"], "{vector:?}");
                sent += 1;
            }
        }
    }
    let mails = server.mails();
    assert_eq!(mails.len(), sent, "one message each, no more");
    mails.iter().for_each(|mail| assert_clean(&mail.wire));
}

#[test]
fn any_octets_leave_clean_and_come_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let upstream = client(&server, patient());
    let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()];
    let chunks = proptest::collection::vec(proptest::collection::vec(octet, 1..20), 0..8);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    runner
        .run(&chunks, |chunks| {
            let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            runtime.block_on(deliver(&upstream, of_chunks(&slices)));
            let mail = server.mails().pop().unwrap();
            assert_clean(&mail.wire);
            // What the other side unstuffs is what went in, mended as at reception.
            let content = chunks.concat();
            let mended = String::from_utf8(content.iter().map(|&b| if b < 128 { b } else { b'x' }).collect()).unwrap();
            let mended = mended.replace("\r\n", "\n").replace('\r', " ").replace('\n', "\r\n");
            let mended = if mended.is_empty() || mended.ends_with("\r\n") { mended } else { mended + "\r\n" };
            let got: Vec<u8> = mail.content.iter().map(|&b| if b < 128 { b } else { b'x' }).collect();
            prop_assert_eq!(got, mended.into_bytes());
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let line = b"A line of a large message, with a dot. And no more.\r\n.And one that begins with one.\r\n";
    let content = line.repeat(9_000_000 / line.len());
    let server = ScriptedUpstream::start(Script::new()).await;
    let half = content.len() / 2 + 7;
    let outbound = of_chunks(&[&content[..half], &content[half..]]);
    assert_eq!(deliver(&client(&server, patient()), outbound).await, ["accepted: 250 2.0.0 queued as Q1"]);
    assert!(server.accepted()[0].content == content);
}

#[tokio::test]
async fn the_body_is_asked_for_after_the_354() {
    let server = ScriptedUpstream::start(Script::new().answer(At::Rcpt, "<x@", "550 5.1.1 no")).await;
    let upstream = client(&server, patient());
    let facts = Facts { size_bytes: 6, ..Facts::default() };
    // nobody accepted: never asked for
    let never = Box::pin(async { panic!("asked for") });
    let fates = upstream.deliver(Outbound::later(envelope(&["x@y.test"]), facts, never), ample()).await.unwrap();
    assert_eq!(said(&fates), ["refused at rcpt: 550 5.1.1 no"]);
    // asked for: by then upstream has taken the recipient
    let commands = server.commands().len();
    let (tell, told) = tokio::sync::oneshot::channel();
    let later = Box::pin(async move {
        tell.send(()).unwrap();
        tokio::time::sleep(SHORT).await;
        Some(Bytes::from_static(b"A: b\r\n").into())
    });
    let outbound = Outbound::later(envelope(&["b@y.test"]), facts, later);
    let (fates, heard) = tokio::join!(upstream.deliver(outbound, ample()), async {
        told.await.unwrap();
        server.commands()
    });
    assert_eq!(said(&fates.unwrap()), ["accepted: 250 2.0.0 queued as Q1"]);
    let last: Vec<&String> = heard[commands..].iter().collect();
    assert_eq!(last, ["RSET", "MAIL FROM:<alice@example.com> SIZE=6", "RCPT TO:<b@y.test>", "DATA"]);
}

#[tokio::test]
async fn a_withdrawn_mail_is_not_delivered() {
    let server = ScriptedUpstream::start(Script::new()).await;
    let upstream = client(&server, patient());
    let withdrawn = Outbound::later(envelope(&["b@y.test"]), Facts::default(), Box::pin(async { None }));
    let fates = upstream.deliver(withdrawn, ample()).await.unwrap();
    assert_eq!(said(&fates), ["deferred: withdrawn before the final dot at data"]);
    // and the next one starts on a connection that knows nothing of it
    assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, ["accepted: 250 2.0.0 queued as Q1"]);
    let mails = server.accepted();
    assert_eq!((mails.len(), mails[0].rcpts.len(), server.connections()), (1, 1, 2));
}

/// Large enough that upstream can speak while we still write.
fn large() -> Outbound {
    Outbound::new(
        envelope(&["b@y.test"]),
        Bytes::from(b"A line of some length, again and again.\r\n".repeat(200_000)).into(),
    )
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_content() {
    for acts in [
        vec![Act::say("552 5.3.4 too much"), Act::Hang],
        vec![Act::say("552 5.3.4 too much"), Act::Close],
        vec![Act::Wait(SHORT), Act::say("552 5.3.4 too much"), Act::Hang],
    ] {
        let server = ScriptedUpstream::start(Script::new().on(At::Content, [vec![Act::Default], acts].concat())).await;
        let fates = deliver(&client(&server, patient()), large()).await;
        assert_eq!(fates, ["refused at data: 552 5.3.4 too much"]);
        assert!(server.accepted().is_empty());
    }
}

#[tokio::test]
async fn an_acceptance_in_the_middle_of_the_content_is_none() {
    let script = Script::new().on(At::Content, [Act::say("250 2.0.0 thanks"), Act::Hang]);
    let server = ScriptedUpstream::start(script).await;
    let fates = deliver(&client(&server, patient()), large()).await;
    assert_eq!(fates, ["unknown: perhaps delivered: a reply out of place, 250 2.0.0 thanks after the final dot"]);
}

#[tokio::test]
async fn upstream_stops_reading() {
    let mut options = patient();
    options.data_block = SHORT;
    let server = ScriptedUpstream::start(Script::new().on(At::Content, [Act::Hang])).await;
    assert_eq!(deliver(&client(&server, options), large()).await, ["deferred: no answer in time at data"]);
    for act in [Act::Close, Act::Reset] {
        let server = ScriptedUpstream::start(Script::new().on(At::Content, [act])).await;
        let fates = deliver(&client(&server, patient()), large()).await;
        assert!(fates[0].starts_with("deferred: connection lost") && fates[0].ends_with("at data"), "{fates:?}");
    }
}
