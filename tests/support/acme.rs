//! A small certificate authority that speaks ACME (RFC 8555) on a port of its own, and is strict about it: every request must
//! carry a signature that is right, a nonce that was given out and not used, and its own address.
//!
//! It shares no code with the client it tests but base64 and JSON.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::crypto::ring;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The authority. Its thread ends with the process.
pub(crate) struct TestCa {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    addr: SocketAddr,
    root: String,
    issuer: Issuer<'static, KeyPair>,
    state: Mutex<State>,
    /// Told when somebody says where to look.
    looks: Condvar,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    drawn: u64,
    accounts: Vec<Value>,
    orders: Vec<Order>,
    /// Where the names are looked at; until it is known, validation waits.
    look_at: Option<SocketAddr>,
    /// Seconds before and after now that certificates hold.
    life: (u64, u64),
    /// What new orders are refused with.
    refuse: Option<(u16, &'static str, &'static str)>,
    /// Answers `badNonce` to so many requests first.
    bad_nonces: usize,
    issued: usize,
    wrong: Vec<String>,
}

#[derive(Clone, Default)]
struct Order {
    names: Vec<String>,
    validated: Vec<Option<bool>>,
    chain: Option<String>,
}

const DAY: u64 = 86_400;

impl TestCa {
    /// One that gives out certificates for 90 days.
    pub(crate) fn start() -> TestCa {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let state = Mutex::new(State { life: (60, 90 * DAY), ..State::default() });
        let inner = Arc::new(Inner { addr, root, issuer, state, looks: Condvar::new() });
        let serving = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let inner = Arc::clone(&serving);
                std::thread::spawn(move || drop(inner.converse(stream.unwrap())));
            }
        });
        TestCa { addr, inner }
    }

    pub(crate) fn directory(&self) -> String {
        format!("http://{}/directory", self.addr)
    }

    /// For clients.
    pub(crate) fn root(&self) -> &str {
        &self.inner.root
    }

    /// Names are looked at here, whatever they are.
    pub(crate) fn look_at(&self, addr: SocketAddr) {
        self.inner.state.lock().unwrap().look_at = Some(addr);
        self.inner.looks.notify_all();
    }

    /// Certificates hold from so many seconds ago for so many seconds to come.
    pub(crate) fn life(&self, before_secs: u64, after_secs: u64) {
        self.inner.state.lock().unwrap().life = (before_secs, after_secs);
    }

    /// New orders are refused with this status, type and words; `None`: they are taken.
    pub(crate) fn refuse(&self, with: Option<(u16, &'static str, &'static str)>) {
        self.inner.state.lock().unwrap().refuse = with;
    }

    /// The next requests are told that their nonce is bad.
    pub(crate) fn bad_nonces(&self, requests: usize) {
        self.inner.state.lock().unwrap().bad_nonces = requests;
    }

    /// It knows nobody any more.
    pub(crate) fn forget_accounts(&self) {
        self.inner.state.lock().unwrap().accounts.iter_mut().for_each(|account| *account = Value::Null);
    }

    pub(crate) fn accounts(&self) -> usize {
        self.inner.state.lock().unwrap().accounts.len()
    }

    pub(crate) fn orders(&self) -> usize {
        self.inner.state.lock().unwrap().orders.len()
    }

    pub(crate) fn issued(&self) -> usize {
        self.inner.state.lock().unwrap().issued
    }

    /// Requests that were not as RFC 8555 has them.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.inner.state.lock().unwrap().wrong.clone()
    }
}

/// Status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);

fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status});
    (status, vec![("Content-Type", "application/problem+json".to_owned())], body.to_string())
}

impl Inner {
    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let (mut length, mut kind) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "content-type" => kind = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let words: Vec<&str> = first.split(' ').collect();
        let (status, headers, text) = match (words[0], words[1]) {
            ("GET", "/directory") => self.directory(),
            ("HEAD" | "GET", "/nonce") => (200, Vec::new(), String::new()),
            ("POST", path) if kind == "application/jose+json" => self.post(path, &body),
            _ => problem(405, "malformed", "no such thing here"),
        };
        let mut out = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nReplay-Nonce: {}\r\n", self.nonce());
        for (name, value) in headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n", text.len()));
        if words[0] != "HEAD" {
            out.push_str(&text);
        }
        reader.into_inner().write_all(out.as_bytes())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn directory(&self) -> Answer {
        let body = json!({"newNonce": self.url("/nonce"), "newAccount": self.url("/account"), "newOrder": self.url("/order"),
            "revokeCert": self.url("/revoke"), "keyChange": self.url("/key")});
        (200, Vec::new(), body.to_string())
    }

    fn nonce(&self) -> String {
        let mut state = self.state.lock().unwrap();
        state.drawn += 1;
        let nonce = BASE64.encode(Sha256::digest(state.drawn.to_be_bytes()));
        state.nonces.insert(nonce.clone());
        nonce
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        match self.verified(path, body) {
            Ok((jwk, payload)) => self.answer(path, &jwk, &payload),
            Err(answer) => {
                let nonce = answer.2.contains("badNonce") || answer.2.contains("accountDoesNotExist");
                if !nonce {
                    self.state.lock().unwrap().wrong.push(format!("{path}: {}", answer.2));
                }
                answer
            }
        }
    }

    /// The key that signed it, and the payload.
    fn verified(&self, path: &str, body: &[u8]) -> Result<(Value, Value), Answer> {
        let malformed = |detail: &str| problem(400, "malformed", detail);
        let jws: Value = serde_json::from_slice(body).map_err(|_| malformed("no JSON"))?;
        let field = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let decoded = |name: &str| BASE64.decode(field(name)).map_err(|_| malformed("no base64url"));
        let header: Value = serde_json::from_slice(&decoded("protected")?).map_err(|_| malformed("no header"))?;
        if header["alg"] != "ES256" || header["url"] != self.url(path) {
            return Err(malformed("alg or url"));
        }
        let mut state = self.state.lock().unwrap();
        let known = state.nonces.remove(header["nonce"].as_str().unwrap_or_default());
        if !known || state.bad_nonces > 0 {
            state.bad_nonces = state.bad_nonces.saturating_sub(1);
            return Err(problem(400, "badNonce", "another one, please"));
        }
        let jwk = match (header.get("jwk"), header["kid"].as_str()) {
            (Some(jwk), None) if path == "/account" => jwk.clone(),
            (None, Some(kid)) if path != "/account" => {
                let number = kid.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
                let account = number.and_then(|number| state.accounts.get(number)).filter(|account| !account.is_null());
                account.cloned().ok_or_else(|| problem(400, "accountDoesNotExist", "no such account"))?
            }
            _ => return Err(malformed("jwk or kid")),
        };
        drop(state);
        let signed = format!("{}.{}", field("protected"), field("payload"));
        if !is_signed(&jwk, signed.as_bytes(), &decoded("signature")?) {
            return Err(malformed("signature"));
        }
        let payload = decoded("payload")?;
        Ok((jwk, if payload.is_empty() { Value::Null } else { serde_json::from_slice(&payload).unwrap() }))
    }

    fn answer(&self, path: &str, jwk: &Value, payload: &Value) -> Answer {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = segments.get(1).and_then(|number| number.parse::<usize>().ok());
        match (segments[0], number) {
            ("account", None) => {
                assert_eq!(payload["termsOfServiceAgreed"], true);
                let mut state = self.state.lock().unwrap();
                state.accounts.push(jwk.clone());
                let at = self.url(&format!("/account/{}", state.accounts.len() - 1));
                (201, vec![("Location", at)], json!({"status": "valid"}).to_string())
            }
            ("order", None) => self.new_order(payload),
            ("order", Some(number)) => (200, Vec::new(), self.order(number).to_string()),
            ("authz", Some(number)) => {
                (200, Vec::new(), self.authorization(number, segments[2].parse().unwrap()).to_string())
            }
            ("chall", Some(number)) => {
                let name = segments[2].parse().unwrap();
                let right = self.look(number, name, jwk);
                self.state.lock().unwrap().orders[number].validated[name] = Some(right);
                (200, Vec::new(), self.authorization(number, name)["challenges"][0].to_string())
            }
            ("finalize", Some(number)) => self.finalize(number, payload),
            ("cert", Some(number)) => {
                (200, Vec::new(), self.state.lock().unwrap().orders[number].chain.clone().unwrap())
            }
            _ => problem(404, "malformed", "no such thing here"),
        }
    }

    fn new_order(&self, payload: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        state.orders.push(Order::default());
        let number = state.orders.len() - 1;
        if let Some((status, kind, detail)) = state.refuse {
            return problem(status, kind, detail);
        }
        let names = payload["identifiers"].as_array().unwrap();
        let names: Vec<String> = names.iter().map(|name| name["value"].as_str().unwrap().to_owned()).collect();
        state.orders[number] = Order { validated: vec![None; names.len()], names, chain: None };
        drop(state);
        (201, vec![("Location", self.url(&format!("/order/{number}")))], self.order(number).to_string())
    }

    fn order(&self, number: usize) -> Value {
        let order = self.state.lock().unwrap().orders[number].clone();
        let status = match order.validated.as_slice() {
            _ if order.chain.is_some() => "valid",
            all if all.contains(&Some(false)) => "invalid",
            all if all.iter().all(|one| *one == Some(true)) => "ready",
            _ => "pending",
        };
        let authorizations: Vec<String> =
            (0..order.names.len()).map(|name| self.url(&format!("/authz/{number}/{name}"))).collect();
        let identifiers: Vec<Value> = order.names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let mut value = json!({"status": status, "identifiers": identifiers, "authorizations": authorizations,
            "finalize": self.url(&format!("/finalize/{number}"))});
        if order.chain.is_some() {
            value["certificate"] = json!(self.url(&format!("/cert/{number}")));
        }
        value
    }

    fn authorization(&self, number: usize, name: usize) -> Value {
        let order = self.state.lock().unwrap().orders[number].clone();
        let status = match order.validated[name] {
            None => "pending",
            Some(true) => "valid",
            Some(false) => "invalid",
        };
        let mut challenge = json!({"type": "http-01", "status": status, "token": token(number, name),
            "url": self.url(&format!("/chall/{number}/{name}"))});
        if order.validated[name] == Some(false) {
            let detail = format!("nothing to be seen at http://{}/", order.names[name]);
            challenge["error"] =
                json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": detail, "status": 403});
        }
        json!({"status": status, "identifier": {"type": "dns", "value": order.names[name]}, "challenges": [challenge]})
    }

    /// Asks for the answer, as RFC 8555 §8.3 says.
    fn look(&self, number: usize, name: usize, jwk: &Value) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) =
            self.looks.wait_timeout_while(state, Duration::from_secs(30), |state| state.look_at.is_none()).unwrap();
        let (Some(at), host) = (state.look_at, state.orders[number].names[name].clone()) else { return false };
        drop(state);
        let token = token(number, name);
        let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
        let canonical = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let expected = format!("{token}.{}", BASE64.encode(Sha256::digest(canonical)));
        let Ok(mut stream) = TcpStream::connect(at) else { return false };
        let path = format!("/.well-known/acme-challenge/{token}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.starts_with("HTTP/1.1 200") && answer.ends_with(&expected)
    }

    fn finalize(&self, number: usize, payload: &Value) -> Answer {
        let csr = BASE64.decode(payload["csr"].as_str().unwrap()).unwrap();
        let key = CsrKey::in_request(&csr);
        let (names, (before, after)) = {
            let state = self.state.lock().unwrap();
            (state.orders[number].names.clone(), state.life)
        };
        assert!(
            names.iter().all(|name| memchr::memmem::find(&csr, name.as_bytes()).is_some()),
            "the request names all"
        );
        let mut params = CertificateParams::new(names).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now - before);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now + after);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut state = self.state.lock().unwrap();
        state.orders[number].chain = Some(format!("{}{}", certificate.pem(), self.root));
        state.issued += 1;
        drop(state);
        (200, Vec::new(), self.order(number).to_string())
    }
}

fn token(number: usize, name: usize) -> String {
    format!("token-of-order-{number}-name-{name}")
}

/// ES256 (RFC 7518 §3.4).
fn is_signed(jwk: &Value, signed: &[u8], signature: &[u8]) -> bool {
    let coordinate = |name: &str| BASE64.decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (Some(r), Some(s)) = (signature.get(..32), signature.get(32..64)) else { return false };
    let numbers = [integer(r), integer(s)].concat();
    let der = [vec![0x30, u8::try_from(numbers.len()).unwrap()], numbers].concat();
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(&point, signed, &der).is_ok())
}

/// An unsigned number in DER.
fn integer(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let mut number = octets[start..].to_vec();
    if number[0] >= 0x80 {
        number.insert(0, 0);
    }
    [vec![2, u8::try_from(number.len()).unwrap()], number].concat()
}

/// The key of a certificate request: P-256, as waxseal makes them.
struct CsrKey(Vec<u8>);

impl CsrKey {
    fn in_request(csr: &[u8]) -> CsrKey {
        // id-ecPublicKey, prime256v1, and a bit string of 65 octets that begins with 4.
        let before = [
            0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
            0x07, 0x03, 0x42, 0x00,
        ];
        let at = memchr::memmem::find(csr, &before).unwrap() + before.len();
        CsrKey(csr[at..at + 65].to_vec())
    }
}

impl PublicKeyData for CsrKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
