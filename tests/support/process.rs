//! waxseal as it really runs: a process of its own in a folder of its own, that can be killed and started again.
//!
//! The ports stay the same over restarts, so they are chosen below the range from which the system takes the ports of
//! outgoing connections: nobody else's connection can hold one while waxseal is down.
#![expect(clippy::disallowed_methods, reason = "the threads of these tests have no runtime to block")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What tracked URLs begin with.
pub(crate) const PUBLIC_URL: &str = "http://track.example";
/// How every test's configuration ends: everything individual, nobody asked, one organisation.
pub(crate) const ORGANISATION: &str = r#"
[tracking]
opens = "individual"
links = "individual"
text_links = false
[privacy]
consent = "none"
[[org]]
name = "default"
domains = ["localhost", "example.com"]
"#;
/// Starting may have to share two processors with every other test.
const START_MAX: Duration = Duration::from_secs(30);

/// A folder with a configuration: everything that outlives a process.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    /// Plaintext or STARTTLS; loopback may submit without login for the org `default`.
    pub(crate) smtp: SocketAddr,
    /// The tracking site.
    pub(crate) tracking: SocketAddr,
    /// The dashboard.
    pub(crate) admin: SocketAddr,
}

/// One run of the program. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    smtp: SocketAddr,
    log: PathBuf,
}

/// strace on a running process. Let go when dropped.
pub(crate) struct Tracer {
    child: Child,
    /// What it wrote, one line a call, paths resolved.
    pub(crate) output: PathBuf,
}

impl Installation {
    /// A new one that forwards to `upstream` in plaintext, with `more` lines of TOML (whole sections).
    pub(crate) fn new(upstream: SocketAddr, more: &str) -> Installation {
        let folder = tempfile::tempdir().unwrap();
        let [smtp, tracking, admin] = [free_port(), free_port(), free_port()];
        fs::write(folder.path().join("config.toml"), config([smtp, tracking, admin], upstream, more)).unwrap();
        Installation { folder, smtp, tracking, admin }
    }

    /// A new one whose mail stays in the built-in inbox, with `more` lines of TOML (whole sections).
    pub(crate) fn inbox(more: &str) -> Installation {
        let installation = Installation::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), more);
        let path = installation.path("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("[upstream]").unwrap();
        let (_, after) = rest.split_once("[web]").unwrap();
        fs::write(&path, format!("{before}[upstream]\nmode = \"inbox\"\n[web]{after}")).unwrap();
        installation
    }

    /// Believes whoever asks on loopback for whom they ask.
    pub(crate) fn trusting_the_proxy(self) -> Installation {
        let path = self.path("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("[web]\n", "[web]\ntrusted_proxies = [\"127.0.0.1\"]\n", 1)).unwrap();
        self
    }

    /// Runs the command line against the running process; it must succeed. What it printed.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let config = self.path("config.toml");
        let out = Command::new(env!("CARGO_BIN_EXE_waxseal")).args(args).arg("--config").arg(config).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The same with these words on standard input.
    pub(crate) fn cli_with(&self, args: &[&str], stdin: &str) -> String {
        use std::io::Write;
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
        let command = command.args(args).arg("--config").arg(self.path("config.toml"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Starts the program and waits until it answers.
    pub(crate) fn start(&self) -> Process {
        let mut process = self.spawn();
        process.wait_until_ready();
        process
    }

    /// Starts the program and does not wait.
    pub(crate) fn spawn(&self) -> Process {
        self.spawn_with(&[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn spawn_with(&self, environment: &[(&str, &str)]) -> Process {
        let log = self.folder.path().join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_waxseal"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("config.toml"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process { child, smtp: self.smtp, log }
    }

    /// `data/`: stores, keys, spool.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `data/spool/`.
    pub(crate) fn spool(&self) -> PathBuf {
        self.data().join("spool")
    }

    /// Takes every record out of the spool while no process runs.
    pub(crate) fn forget_the_spool(&self) {
        for entry in fs::read_dir(self.spool()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "mail" || e == "state") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// A place for a test's own files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The end of what the program said, for messages of tests that fail.
    pub(crate) fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }
}

impl Process {
    /// Waits for the banner.
    pub(crate) fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_MAX;
        while !answers(self.smtp) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("waxseal ended at its start: {status}\n{}", tail(&self.log));
            }
            assert!(Instant::now() < deadline, "waxseal does not answer\n{}", tail(&self.log));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for an orderly end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(45);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "waxseal does not stop\n{}", tail(&self.log));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Memory in use, KiB: its own, and what it has read of its program file, which the system can take back.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// Of this its own, KiB.
    #[allow(dead_code, reason = "a bench asks, no test does")]
    pub(crate) fn anonymous_kib(&self) -> u64 {
        self.status_kib("RssAnon:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything: fields 14 and 15 are user and system time in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Puts strace on every thread, with these options, and waits until it sits. Calls are counted a thread at a time.
    pub(crate) fn trace(&self, output: PathBuf, options: &[&str]) -> Tracer {
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-o"])
            .arg(&output)
            .args(options)
            .args(["-p", &self.child.id().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("strace: {e}"));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "strace: {said}");
        // It names every new thread: somebody has to listen.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Tracer { child, output }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Tracer {
    /// The lines written so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.output).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // SIGTERM makes strace let go of a process that lives on; SIGKILL would leave injected calls half done.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        self.child.wait().unwrap();
    }
}

/// A port on loopback that nobody listens on and no outgoing connection will take.
pub(crate) fn free_port() -> SocketAddr {
    loop {
        let port = 10_000 + u16::try_from(getrandom::u32().unwrap() % 20_000).unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Whether an SMTP server greets there.
pub(crate) fn answers(addr: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(addr) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut first = [0; 3];
    stream.read_exact(&mut first).is_ok() && first == *b"220"
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn config([smtp, tracking, admin]: [SocketAddr; 3], upstream: SocketAddr, more: &str) -> String {
    let (host, port) = (upstream.ip(), upstream.port());
    format!(
        r#"
[server]
hostname = "localhost"
data_dir = "data"
[[listener]]
addr = "{smtp}"
tls = "starttls"
auth = "required"
networks = ["127.0.0.0/8"]
org = "default"
[tls]
certificate = "certs/relay.crt"
private_key = "certs/relay.key"
[upstream]
mode = "smtp"
host = "{host}"
port = {port}
tls = "none"
auth = "none"
[web]
tracking = "{tracking}"
public_url = "{PUBLIC_URL}"
admin = "{admin}"
{ORGANISATION}
{more}
"#
    )
}
