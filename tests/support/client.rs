//! A blocking SMTP client that remembers exactly what it was told, and many of them at once.
#![expect(clippy::disallowed_methods, reason = "the threads of these tests have no runtime to block")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A reply, its lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Three digits.
    pub(crate) code: u16,
    /// The words after the code.
    pub(crate) text: String,
}

/// One mail to submit. Its recipients' addresses hold its id, so that nothing about it can be taken for another's.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    /// Carried in the header `X-Ledger-Id`, the Message-ID and every recipient.
    pub(crate) id: String,
    /// The reverse path; bounces come here.
    pub(crate) sender: String,
    /// Forward paths.
    pub(crate) recipients: Vec<String>,
    /// CRLF line ends, not dot-stuffed.
    pub(crate) content: Vec<u8>,
}

/// What the client knows about one submission when it is over, one way or another.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Of the submission.
    pub(crate) id: String,
    /// Those whose RCPT was answered 2yz.
    pub(crate) recipients: Vec<String>,
    /// The final dot was handed to the kernel.
    pub(crate) dot_sent: bool,
    /// The answer to the dot, or the refusal that ended the transaction before it; `None` when the connection ended first.
    pub(crate) reply: Option<Reply>,
}

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Submission {
    /// A small HTML mail with two links, to `names`@ok.test.
    pub(crate) fn new(id: &str, names: &[&str]) -> Submission {
        let recipients: Vec<String> = names.iter().map(|name| format!("{name}.{id}@ok.test")).collect();
        let to = recipients.join(",\r\n\t");
        let content = format!(
            "From: a@example.com\r\nTo: {to}\r\nSubject: {id}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\
             Message-ID: <{id}@example.com>\r\nX-Ledger-Id: {id}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n.<p>{id}</p>\r\n\
             <a href=\"https://shop.example/offer/{id}?a=1\">one</a>\r\n\
             <a href=\"https://shop.example/second\">two</a>\r\n</body></html>\r\n"
        );
        Submission {
            id: id.to_owned(),
            sender: format!("a+{id}@example.com"),
            recipients,
            content: content.into_bytes(),
        }
    }

    /// The same with so many more octets of text.
    pub(crate) fn with_ballast(mut self, octets: usize) -> Submission {
        let line = [b'x'; 76].iter().chain(b"\r\n").copied().collect::<Vec<u8>>();
        let end = self.content.split_off(self.content.len() - "</body></html>\r\n".len());
        for _ in 0..octets.div_ceil(line.len()) {
            self.content.extend_from_slice(&line);
        }
        self.content.extend_from_slice(&end);
        self
    }

    /// Dot-stuffed, without the end of data.
    pub(crate) fn stuffed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content.len() + 64);
        for line in self.content.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out
    }
}

impl Told {
    /// The code, or 0 when the connection ended before an answer.
    pub(crate) fn code(&self) -> u16 {
        self.reply.as_ref().map_or(0, |reply| reply.code)
    }
}

impl Client {
    /// Connects, reads the banner, says EHLO.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Client> {
        Client::over(TcpStream::connect(addr)?)
    }

    /// The same over a connection that stands.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Client { reader: BufReader::new(stream) };
        client.reply()?;
        client.command("EHLO client.test")?;
        Ok(client)
    }

    /// How long to wait for an answer.
    pub(crate) fn patience(&self, limit: Duration) {
        self.reader.get_ref().set_read_timeout(Some(limit)).unwrap();
    }

    /// One command and its answer.
    pub(crate) fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(octets)
    }

    /// Everything of a submission up to the 354; gives what was refused instead.
    pub(crate) fn open(&mut self, mail: &Submission, told: &mut Told) -> io::Result<Option<Reply>> {
        let reply = self.command(&format!("MAIL FROM:<{}>", mail.sender))?;
        if reply.code != 250 {
            return Ok(Some(reply));
        }
        for recipient in &mail.recipients {
            let reply = self.command(&format!("RCPT TO:<{recipient}>"))?;
            if reply.code == 250 {
                told.recipients.push(recipient.clone());
            }
        }
        let reply = self.command("DATA")?;
        Ok((reply.code != 354).then_some(reply))
    }

    /// Submits one mail. Never fails: what it knows at the end is the result.
    pub(crate) fn submit(&mut self, mail: &Submission) -> Told {
        let mut told = Told { id: mail.id.clone(), recipients: Vec::new(), dot_sent: false, reply: None };
        // An error is the end of the connection: it leaves the answer open, and that is what there is to know.
        drop(self.try_submit(mail, &mut told));
        told
    }

    fn try_submit(&mut self, mail: &Submission, told: &mut Told) -> io::Result<()> {
        if let Some(refusal) = self.open(mail, told)? {
            told.reply = Some(refusal);
            return Ok(());
        }
        let mut octets = mail.stuffed();
        octets.extend_from_slice(b".\r\n");
        // Some of it may leave even when the write fails.
        told.dot_sent = true;
        self.send(&octets)?;
        told.reply = Some(self.reply()?);
        Ok(())
    }

    /// The next reply, however many lines it has.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let mut text = Vec::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            let code = line.get(..3).and_then(|c| c.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            text.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, text: text.join("\n") });
            }
        }
    }

    /// Goes away: with a RST when something was unread, else with a FIN.
    pub(crate) fn vanish(self) {
        drop(self.reader.get_ref().shutdown(Shutdown::Both));
    }
}

/// Clients that submit until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Told>>>,
}

impl Load {
    /// `clients` threads; mail number n of client c in this load is `make(c, n)`.
    pub(crate) fn start(
        addr: SocketAddr,
        clients: usize,
        make: impl Fn(usize, usize) -> Submission + Send + Sync + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let make = Arc::new(make);
        let threads = (0..clients)
            .map(|c| {
                let (stop, make) = (Arc::clone(&stop), Arc::clone(&make));
                std::thread::spawn(move || submit_until(&stop, addr, |n| make(c, n)))
            })
            .collect();
        Load { stop, threads }
    }

    /// Lets every client come to the end of what it has begun; gives all they were told.
    pub(crate) fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

/// Some mails a connection, as clients do; a new connection when one is lost.
fn submit_until(stop: &AtomicBool, addr: SocketAddr, make: impl Fn(usize) -> Submission) -> Vec<Told> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(addr) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        for _ in 0..5 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let told = client.submit(&make(all.len()));
            let lost = told.reply.is_none();
            all.push(told);
            if lost {
                break;
            }
        }
    }
    all
}
