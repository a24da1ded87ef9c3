//! What was put into seven bits, read by somebody else's MIME parser: the same parts, the same octets.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use waxseal::message::downgrade::to_seven_bit;
use waxseal::message::tree::Limits;

/// Mail of every kind that is converted; `\n` stands for CRLF.
const MAILS: &[&str] = &[
    "Subject: no MIME at all\n\nGrüße\n\n.\nFrom here\n",
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\nContent-Transfer-Encoding: 8bit\n\n\
     Zeile mit Rest \nund \t\n-- \nZürich=Köln  \n",
    "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"=C3=A9\"\nContent-Transfer-Encoding: 8bit\n\nsee\n\
     --=C3=A9\nContent-Type: text/plain; charset=utf-8\n\nÜber\n--é\n\n--=C3=A9\nContent-Type: text/html; charset=utf-8\n\
     Content-Transfer-Encoding: 8bit\n\n<p>Über</p>\n--=C3=A9\nContent-Type: application/octet-stream; name=a\n\
     Content-Transfer-Encoding: binary\nContent-Disposition: attachment; filename=a\n\n\u{1}é\u{0}\n\n--=C3=A9--\nend\n",
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/related; boundary=c\n\n\
     --c\nContent-Type: text/html\n\né\n--c\nContent-Type: image/gif\nContent-Transfer-Encoding: base64\n\nR0lG\n--c--\n\
     --b\nContent-Type: message/rfc822\n\nSubject: plain\n\nx\n--b--\n",
];

#[test]
#[ignore = "needs python3; reads the corpus too where WAXSEAL_CORPUS names one"]
fn pythons_email_sees_the_same_content() {
    let folder = tempfile::tempdir().unwrap();
    let long = "é-.=F x".repeat(400);
    let mut mails: Vec<Vec<u8>> = MAILS.iter().map(|mail| mail.replace('\n', "\r\n").into_bytes()).collect();
    mails.push(format!("MIME-Version: 1.0\r\n\r\n{long}\r\n").into_bytes());
    let own = mails.len();
    mails.extend(corpus());
    let (mut converted, mut stuck) = (0, BTreeMap::<String, usize>::new());
    for (number, raw) in mails.iter().enumerate().filter(|(_, raw)| !raw.is_ascii()) {
        match to_seven_bit(raw, &Limits::default()) {
            Ok(out) => {
                assert!(out.is_ascii());
                std::fs::write(folder.path().join(format!("{number:05}.in")), raw).unwrap();
                std::fs::write(folder.path().join(format!("{number:05}.out")), out).unwrap();
                converted += 1;
            }
            Err(why) => {
                assert!(number >= own, "{number}: {why}");
                *stuck.entry(why.to_string()).or_default() += 1;
            }
        }
    }
    println!("{converted} converted; not convertible: {stuck:#?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/same_content.py");
    let seen = Command::new("python3").arg(script).arg(folder.path()).output().unwrap();
    println!("{}{}", String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    assert!(seen.status.success());
}

/// Real mail, as reception would have normalised it.
fn corpus() -> Vec<Vec<u8>> {
    let Some(folder) = std::env::var_os("WAXSEAL_CORPUS") else { return Vec::new() };
    let mut paths: Vec<_> =
        std::fs::read_dir(Path::new(&folder).join("messages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| normalised(&std::fs::read(path).unwrap())).collect()
}

/// Bare LF becomes CRLF, bare CR a space.
fn normalised(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 40);
    let mut octets = raw.iter().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' if octets.next_if_eq(&&b'\n').is_some() => out.extend_from_slice(b"\r\n"),
            b'\r' => out.push(b' '),
            b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
    }
    out
}
