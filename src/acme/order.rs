//! One order, from the account to the certificate (RFC 8555 §7.4).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};

use sha2::{Digest as _, Sha256};

use super::challenges::{Challenges, Offered};
use super::client::Client;
use super::files::{AccountFile, Files};
use super::{Options, Proof, hello};
use crate::deliver::tls::TlsClient;

/// How the CA is asked whether it is ready: a quarter of a second, then twice as long each time.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(Duration::from_secs(120));

/// How often an order is begun before lost nonces are a failure.
const TRIES_MAX: u32 = 5;

/// Why there is no certificate. The words are the CA's own where it said any.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The CA refused, or could not be asked.
    #[error("{0}")]
    Ca(#[from] Error),
    /// The CA looked and did not find our answer.
    #[error("the CA could not see that the names are ours: {0}")]
    NotValidated(String),
    /// The CA would look at a name in other ways only.
    #[error("the CA does not offer to look at {0} in this way (acme.challenge)")]
    NoChallenge(String),
    /// The answer cannot be put up.
    #[error("the CA's question cannot be answered: {0}")]
    Answer(String),
    /// What came is no certificate for us.
    #[error("the CA's certificate is of no use: {0}")]
    Useless(String),
    /// It cannot be kept.
    #[error("cannot write the certificate: {0}")]
    Disk(#[source] io::Error),
    /// The roots to trust cannot be read.
    #[error("acme.ca_file: {0}")]
    Roots(String),
    /// The whole order took too long.
    #[error("the order took longer than {} s", super::ORDER_MAX.as_secs())]
    TooLong,
}

impl OrderError {
    /// Whether the CA said that it has been asked too often.
    pub fn is_limit(&self) -> bool {
        self.is_problem("rateLimited")
    }

    fn is_problem(&self, name: &str) -> bool {
        let OrderError::Ca(Error::Api(problem)) = self else { return false };
        problem.r#type.as_deref().is_some_and(|kind| kind.rsplit(':').next() == Some(name))
    }
}

/// The key and the chain, as PEM.
pub(super) async fn order(
    options: &Options,
    files: &Files,
    challenges: &Arc<Challenges>,
) -> Result<String, OrderError> {
    let mut known = files.account(&options.directory).is_some();
    let mut tries = 0;
    loop {
        tries += 1;
        match with_account(options, files, challenges).await {
            // It was deleted there, or the CA has begun anew (as test CAs do): so do we.
            Err(error) if known && error.is_problem("accountDoesNotExist") => {
                files.forget_account().map_err(OrderError::Disk)?;
                known = false;
            }
            // It says nothing about us (RFC 8555 §6.5). A question is asked three times with a nonce of its own each before
            // this is what comes of it: with a CA that throws many away, one order in some is lost by that.
            Err(error) if tries < TRIES_MAX && error.is_problem("badNonce") => {
                tracing::debug!(tries, "the CA has thrown our nonces away; the order begins anew");
            }
            done => return done,
        }
    }
}

async fn with_account(options: &Options, files: &Files, challenges: &Arc<Challenges>) -> Result<String, OrderError> {
    let account = account(options, files).await?;
    let names: Vec<Identifier> = options.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let offered = answer(&mut order, options.proof, challenges).await?;
    if order.state().status == OrderStatus::Pending {
        match order.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(OrderError::NotValidated(why_not(&mut order).await)),
            // An order that carries an error says less than the look that failed.
            Err(Error::Api(problem)) => {
                let why = why_not(&mut order).await;
                return Err(if why.is_empty() { Error::Api(problem).into() } else { OrderError::NotValidated(why) });
            }
            Err(other) => return Err(other.into()),
        }
    }
    drop(offered);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLL).await?;
    Ok(format!("{key}{chain}"))
}

/// The account that is known there, or a new one.
async fn account(options: &Options, files: &Files) -> Result<Account, OrderError> {
    let roots = options.roots.clone();
    let tls = tokio::task::spawn_blocking(move || TlsClient::new("localhost", &roots)).await;
    let tls = tls.map_err(|died| OrderError::Roots(died.to_string()))?;
    let tls = tls.map_err(|error| OrderError::Roots(error.to_string()))?;
    let builder = Account::builder_with_http(Box::new(Client::new(tls, &options.directory)));
    if let Some(known) = files.account(&options.directory)
        && let Ok(credentials) = serde_json::from_value::<AccountCredentials>(known.credentials)
    {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contacts: Vec<String> = options.contacts.iter().map(|address| format!("mailto:{address}")).collect();
    let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&new, options.directory.clone(), None).await?;
    let credentials = serde_json::to_value(&credentials).map_err(|error| OrderError::Disk(error.into()))?;
    let file = AccountFile { directory: options.directory.clone(), credentials };
    files.put_account(&file).map_err(OrderError::Disk)?;
    Ok(account)
}

/// Puts an answer up for every name the CA wants to look at, and says so.
async fn answer(order: &mut Order, proof: Proof, challenges: &Arc<Challenges>) -> Result<Vec<Offered>, OrderError> {
    let kind = || match proof {
        Proof::Http01 => ChallengeType::Http01,
        Proof::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut offered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(kind());
        let mut challenge = challenge.ok_or_else(|| OrderError::NoChallenge(name.clone()))?;
        let answer = challenge.key_authorization();
        offered.push(match proof {
            Proof::Http01 => challenges.offer(&challenge.token, answer.as_str()),
            Proof::TlsAlpn01 => {
                let digest = Sha256::digest(answer.as_str());
                challenges.show(&name, hello::config(&name, &digest.into()).map_err(OrderError::Answer)?)
            }
        });
        challenge.set_ready().await?;
    }
    Ok(offered)
}

/// The CA's words about each name it could not see.
async fn why_not(order: &mut Order) -> String {
    let mut words = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let problems = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        words.extend(
            problems.map(|problem| format!("{name}: {}", problem.detail.as_deref().unwrap_or("no reason given"))),
        );
    }
    words.join("; ")
}
