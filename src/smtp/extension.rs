//! Service extensions: the EHLO keywords we offer, and the parameters of MAIL and RCPT, as values.
//!
//! **Invariant:** a parameter of an extension that is not offered is refused (555), never ignored: what the client
//! asked for either happens or it is told.

/// `BODY=` (RFC 6152).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// Not said, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// `RET=` (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// Whole message.
    Full,
    /// Headers only.
    Hdrs,
}

/// `NOTIFY=` (RFC 3461 §4.1); all false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// `SUCCESS`
    pub success: bool,
    /// `FAILURE`
    pub failure: bool,
    /// `DELAY`
    pub delay: bool,
}

/// Parameters of `MAIL FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// `SIZE=`, octets as declared (RFC 1870).
    pub size_bytes: Option<u64>,
    /// `BODY=`
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `RET=`
    pub ret: Option<Ret>,
    /// `ENVID=`, the xtext as received (RFC 3461 §4.4), never decoded so never encoded twice.
    pub envid: Option<String>,
}

/// Parameters of `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// `NOTIFY=`; `None` when absent.
    pub notify: Option<Notify>,
    /// `ORCPT=`, the text as received (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

/// What the listener can do for this client at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The largest message, in octets.
    pub message_bytes_max: usize,
    /// STARTTLS can be issued now.
    pub starttls: bool,
    /// AUTH can be issued now.
    pub auth: bool,
    /// And with a bearer token too.
    pub bearer: bool,
    /// DSN parameters are carried through to the end.
    pub dsn: bool,
}

impl Offer {
    /// The lines of the EHLO reply after the host name. CHUNKING, BINARYMIME, REQUIRETLS and LIMITS are left out.
    pub fn keywords(&self) -> Vec<String> {
        let always = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        let mut keywords = vec![format!("SIZE {}", self.message_bytes_max)];
        keywords.extend(always.map(str::to_owned));
        let auth = if self.bearer { "AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER" } else { "AUTH PLAIN LOGIN" };
        let now = [(self.starttls, "STARTTLS"), (self.auth, auth), (self.dsn, "DSN")];
        keywords.extend(now.iter().filter(|(offered, _)| *offered).map(|(_, keyword)| (*keyword).to_owned()));
        keywords
    }
}

/// Why parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamError {
    /// Known, but this value is not one of its values, or it came twice.
    Value,
    /// Not known, or not offered.
    Unknown,
}

/// Octets of one ENVID or ORCPT value (RFC 3461 §4.2, §4.4: 100 and 500 before encoding; encoded is up to three times that).
const ENVID_BYTES_MAX: usize = 300;
const ORCPT_BYTES_MAX: usize = 1500;

impl MailParams {
    /// Reads what follows the path of MAIL: nothing, or parameters divided by spaces.
    ///
    /// # Errors
    /// [`ParamError`] of the first bad one.
    pub fn parse(text: &[u8], dsn: bool) -> Result<MailParams, ParamError> {
        let mut params = MailParams::default();
        let mut seen = Vec::new();
        for (keyword, value) in each(text) {
            first_of(&mut seen, keyword)?;
            match (keyword.to_ascii_uppercase().as_slice(), value) {
                (b"SIZE", Some(value)) => params.size_bytes = Some(size(value)?),
                (b"BODY", Some(value)) => params.body = body(value)?,
                (b"SMTPUTF8", None) => params.smtputf8 = true,
                // RFC 4954 §5: said by trusting relays; we know our submitter, so it is checked and dropped.
                (b"AUTH", Some(value)) => drop(xtext(value, ENVID_BYTES_MAX)?),
                (b"RET", Some(value)) if dsn => params.ret = Some(ret(value)?),
                (b"ENVID", Some(value)) if dsn => params.envid = Some(xtext(value, ENVID_BYTES_MAX)?),
                (b"SIZE" | b"BODY" | b"SMTPUTF8" | b"AUTH", _) => return Err(ParamError::Value),
                (b"RET" | b"ENVID", None) if dsn => return Err(ParamError::Value),
                _ => return Err(ParamError::Unknown),
            }
        }
        Ok(params)
    }
}

impl RcptParams {
    /// Reads what follows the path of RCPT.
    ///
    /// # Errors
    /// [`ParamError`] of the first bad one.
    pub fn parse(text: &[u8], dsn: bool) -> Result<RcptParams, ParamError> {
        let mut params = RcptParams::default();
        let mut seen = Vec::new();
        for (keyword, value) in each(text) {
            first_of(&mut seen, keyword)?;
            match (keyword.to_ascii_uppercase().as_slice(), value) {
                (b"NOTIFY", Some(value)) if dsn => params.notify = Some(notify(value)?),
                (b"ORCPT", Some(value)) if dsn => params.orcpt = Some(orcpt(value)?),
                (b"NOTIFY" | b"ORCPT", None) if dsn => return Err(ParamError::Value),
                _ => return Err(ParamError::Unknown),
            }
        }
        Ok(params)
    }
}

/// Keyword and value of each parameter.
fn each(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    text.split(|octet| *octet == b' ').filter(|param| !param.is_empty()).map(|param| {
        match param.iter().position(|octet| *octet == b'=') {
            Some(at) => (param.get(..at).unwrap_or_default(), param.get(at + 1..)),
            None => (param, None),
        }
    })
}

fn first_of<'a>(seen: &mut Vec<&'a [u8]>, keyword: &'a [u8]) -> Result<(), ParamError> {
    if seen.iter().any(|before| before.eq_ignore_ascii_case(keyword)) {
        return Err(ParamError::Value);
    }
    seen.push(keyword);
    Ok(())
}

/// 1*20DIGIT (RFC 1870 §4); what does not fit 64 bits is surely too large.
fn size(value: &[u8]) -> Result<u64, ParamError> {
    if !(1..=20).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return Err(ParamError::Value);
    }
    Ok(value.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

fn body(value: &[u8]) -> Result<BodyType, ParamError> {
    match value.to_ascii_uppercase().as_slice() {
        b"7BIT" => Ok(BodyType::SevenBit),
        b"8BITMIME" => Ok(BodyType::EightBitMime),
        b"BINARYMIME" => Err(ParamError::Unknown),
        _ => Err(ParamError::Value),
    }
}

fn ret(value: &[u8]) -> Result<Ret, ParamError> {
    match value.to_ascii_uppercase().as_slice() {
        b"FULL" => Ok(Ret::Full),
        b"HDRS" => Ok(Ret::Hdrs),
        _ => Err(ParamError::Value),
    }
}

/// `NEVER`, or some of the three, each once (RFC 3461 §4.1).
fn notify(value: &[u8]) -> Result<Notify, ParamError> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Ok(notify);
    }
    for word in value.split(|octet| *octet == b',') {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"SUCCESS" => &mut notify.success,
            b"FAILURE" => &mut notify.failure,
            b"DELAY" => &mut notify.delay,
            _ => return Err(ParamError::Value),
        };
        if std::mem::replace(flag, true) {
            return Err(ParamError::Value);
        }
    }
    Ok(notify)
}

/// `addr-type ";" xtext` (RFC 3461 §4.2).
fn orcpt(value: &[u8]) -> Result<String, ParamError> {
    let at = value.iter().position(|octet| *octet == b';').ok_or(ParamError::Value)?;
    let kind = value.get(..at).unwrap_or_default();
    let kind_ok = !kind.is_empty() && kind.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    let address = xtext(value.get(at + 1..).unwrap_or_default(), ORCPT_BYTES_MAX)?;
    if kind_ok && !address.is_empty() {
        Ok(format!("{};{address}", String::from_utf8_lossy(kind)))
    } else {
        Err(ParamError::Value)
    }
}

/// xtext (RFC 3461 §4): printable ASCII without `+` and `=`, or `+` and two upper-case hex digits. Kept encoded.
fn xtext(value: &[u8], bytes_max: usize) -> Result<String, ParamError> {
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        let hex = |digit: Option<&u8>| digit.is_some_and(|d| matches!(d, b'0'..=b'9' | b'A'..=b'F'));
        let ok = match octet {
            b'+' => hex(octets.next()) && hex(octets.next()),
            b'=' => false,
            _ => octet.is_ascii_graphic(),
        };
        if !ok {
            return Err(ParamError::Value);
        }
    }
    match String::from_utf8(value.to_vec()) {
        Ok(text) if text.len() <= bytes_max => Ok(text),
        _ => Err(ParamError::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_parameters() {
        use ParamError::*;
        let none = MailParams::default();
        let some = MailParams {
            size_bytes: Some(12),
            body: BodyType::EightBitMime,
            smtputf8: true,
            ret: Some(Ret::Hdrs),
            envid: Some("QQ+2B1".into()),
        };
        #[rustfmt::skip]
        let rows: &[(&str, bool, Result<&MailParams, ParamError>)] = &[
            ("", true, Ok(&none)),
            ("  ", true, Ok(&none)),
            (" size=12 body=8bitmime smtputf8 RET=hdrs ENVID=QQ+2B1", true, Ok(&some)),
            (" BODY=7BIT AUTH=<> ", true, Ok(&none)),
            (" AUTH=e+3Dmc2@ok.test", true, Ok(&none)),
            // bad values of what we know
            (" SIZE=-1", true, Err(Value)), (" SIZE=1x", true, Err(Value)), (" SIZE=", true, Err(Value)), (" SIZE", true, Err(Value)),
            (" SIZE=111111111111111111111", true, Err(Value)),
            (" BODY=9BIT", true, Err(Value)), (" SMTPUTF8=1", true, Err(Value)), (" RET=BAD", true, Err(Value)),
            (" ENVID=a+zz", true, Err(Value)), (" ENVID=a=b", true, Err(Value)), (" AUTH", true, Err(Value)),
            (" SIZE=1 size=2", true, Err(Value)),
            // what we do not know, or do not offer
            (" XYZZY", true, Err(Unknown)), (" XYZZY=1", true, Err(Unknown)), (" BODY=BINARYMIME", true, Err(Unknown)),
            (" RET=FULL", false, Err(Unknown)), (" ENVID=1", false, Err(Unknown)), (" NOTIFY=NEVER", true, Err(Unknown)),
            (" =1", true, Err(Unknown)),
        ];
        for (text, dsn, expected) in rows {
            assert_eq!(MailParams::parse(text.as_bytes(), *dsn).as_ref(), expected.as_ref().copied(), "{text:?}");
        }
        let huge = MailParams::parse(b" SIZE=99999999999999999999", false);
        assert_eq!(huge.map(|p| p.size_bytes), Ok(Some(u64::MAX)));
    }

    #[test]
    fn rcpt_parameters() {
        use ParamError::*;
        let never = Some(Notify { success: false, failure: false, delay: false });
        let two = Some(Notify { success: true, failure: false, delay: true });
        #[rustfmt::skip]
        let rows: &[(&str, bool, Result<RcptParams, ParamError>)] = &[
            ("", true, Ok(RcptParams::default())),
            (" NOTIFY=NEVER", true, Ok(RcptParams { notify: never, orcpt: None })),
            (" notify=success,delay ORCPT=rfc822;a+2Bb@c", true, Ok(RcptParams { notify: two, orcpt: Some("rfc822;a+2Bb@c".into()) })),
            (" NOTIFY=NEVER,SUCCESS", true, Err(Value)), (" NOTIFY=FOO", true, Err(Value)), (" NOTIFY=DELAY,DELAY", true, Err(Value)),
            (" NOTIFY=", true, Err(Value)), (" NOTIFY", true, Err(Value)),
            (" ORCPT=rfc822;a+zz@b", true, Err(Value)), (" ORCPT=rfc822", true, Err(Value)), (" ORCPT=;a", true, Err(Value)),
            (" NOTIFY=NEVER", false, Err(Unknown)), (" ORCPT=rfc822;a", false, Err(Unknown)), (" SIZE=1", true, Err(Unknown)),
        ];
        for (text, dsn, expected) in rows {
            assert_eq!(RcptParams::parse(text.as_bytes(), *dsn), *expected, "{text:?}");
        }
    }

    #[test]
    fn only_what_works_is_listed() {
        let all = Offer { message_bytes_max: 1000, starttls: true, auth: true, bearer: false, dsn: true };
        let always = ["SIZE 1000", "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        assert_eq!(all.keywords(), [&always[..], &["STARTTLS", "AUTH PLAIN LOGIN", "DSN"]].concat());
        assert_eq!(Offer { starttls: false, auth: false, dsn: false, ..all }.keywords(), always);
    }
}
