//! A private Postfix on loopback: own configuration, queue, port and log; everything it takes stays on hold.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Stops when dropped.
pub(crate) struct Postfix {
    folder: tempfile::TempDir,
    /// Where its smtpd listens.
    pub(crate) addr: SocketAddr,
}

impl Postfix {
    /// Starts one that accepts mail for anybody from loopback and keeps it in the hold queue.
    pub(crate) fn start() -> Postfix {
        Postfix::start_with("smtpd_recipient_restrictions = check_recipient_access static:HOLD\n")
    }

    /// Starts one with further lines of `main.cf`.
    pub(crate) fn start_with(more: &str) -> Postfix {
        let folder = tempfile::Builder::new().prefix("waxseal-postfix-").tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let postfix = Postfix { folder, addr: free };
        postfix.write_config(more);
        postfix.control("start");
        let deadline = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect(free).is_err() {
            assert!(Instant::now() < deadline, "Postfix does not answer:\n{}", postfix.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        postfix
    }

    fn write_config(&self, more: &str) {
        let root = self.folder.path();
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["etc", "queue", "data"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        assert!(Command::new("chown").arg("postfix").arg(root.join("data")).status().unwrap().success());
        let here = root.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {here}/queue\ndata_directory = {here}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = upstream.test\n\
             mydestination =\nmynetworks = 127.0.0.0/8\ndisable_dns_lookups = yes\nmaillog_file = {here}/data/mail.log\n\
             maillog_file_prefixes = /tmp,/var\nmessage_size_limit = 52428800\nsmtputf8_enable = yes\n\
             smtpd_client_connection_rate_limit = 0\nalias_maps =\nlocal_recipient_maps =\n{more}"
        );
        fs::write(root.join("etc/main.cf"), main).unwrap();
        let shipped = fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("Postfix is not installed");
        let smtpd = format!("{} inet n - n - - smtpd", self.addr);
        let lines: Vec<String> = shipped
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                match fields.as_slice() {
                    ["smtp", "inet", ..] => smtpd.clone(),
                    // The fifth field is chroot: a private instance has no jail to go to.
                    [a, b, c, d, "y", rest @ ..] if !line.starts_with(' ') => {
                        format!("{a} {b} {c} {d} n {}", rest.join(" "))
                    }
                    _ => line.to_owned(),
                }
            })
            .collect();
        fs::write(root.join("etc/master.cf"), lines.join("\n") + "\n").unwrap();
    }

    /// `postfix start`, `stop`, `reload`.
    pub(crate) fn control(&self, verb: &str) {
        let out =
            Command::new("postfix").arg("-c").arg(self.etc()).arg(verb).output().expect("Postfix is not installed");
        assert!(out.status.success() || verb == "stop", "postfix {verb}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// The queue ids of all it holds.
    pub(crate) fn queue(&self) -> Vec<String> {
        let out = Command::new("postqueue").arg("-c").arg(self.etc()).arg("-j").output().unwrap();
        String::from_utf8_lossy(&out.stdout)
            .lines()
            .filter_map(|line| line.split("\"queue_id\": \"").nth(1)?.split('"').next().map(str::to_owned))
            .collect()
    }

    /// Headers and body of one held message as Postfix queued them, LF line ends, its own Received line cut off.
    pub(crate) fn content(&self, queue_id: &str) -> Vec<u8> {
        let out = Command::new("postcat").arg("-c").arg(self.etc()).args(["-hbq", queue_id]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        split_first_field(&out.stdout).1.to_vec()
    }

    /// Envelope records of one held message, as `postcat -e` prints them.
    pub(crate) fn envelope(&self, queue_id: &str) -> String {
        let out = Command::new("postcat").arg("-c").arg(self.etc()).args(["-eq", queue_id]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Waits until it holds this many messages.
    pub(crate) fn wait_for(&self, messages: usize, limit: Duration) -> Vec<String> {
        let deadline = Instant::now() + limit;
        loop {
            let queue = self.queue();
            if queue.len() >= messages {
                return queue;
            }
            assert!(Instant::now() < deadline, "{} of {messages} arrived\n{}", queue.len(), self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process that starts all others.
    #[allow(dead_code, reason = "the benchmark's: it measures what they cost")]
    pub(crate) fn master_pid(&self) -> u32 {
        let file = self.folder.path().join("queue/pid/master.pid");
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("data/mail.log")).unwrap_or_default()
    }

    fn etc(&self) -> PathBuf {
        self.folder.path().join("etc")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.control("stop");
    }
}

/// The first header field of a message (folded lines included), and the rest.
pub(crate) fn split_first_field(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for (n, line) in message.split_inclusive(|b| *b == b'\n').enumerate() {
        if n > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        at += line.len();
    }
    message.split_at(at)
}
