//! How a client is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::name::{ClusterOrigin, Origin};
use quorate_core::policy::Policy;

use crate::agreement::Agreement;
use crate::client::{Client, Inner};
use crate::error::{ConfigError, Error};
use crate::evidence_dir::EvidenceDir;
use crate::leader::Fleet;
use crate::options::Consistency;
use crate::transport::{EndpointAddress, TlsFiles, client_tls};
use crate::trust::{MemoryTrust, TrustStore};

/// How long a call may take unless something else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a [`Client`]. Made by [`Client::builder`].
///
/// Endpoints and a policy are needed; everything else has a default.
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    policy: Option<Policy>,
    trust: Option<Arc<dyn TrustStore>>,
    tls: TlsFiles,
    plaintext: bool,
    timeout: Duration,
    consistency: Consistency,
    freshness: Option<Duration>,
    author: Option<String>,
    agreement: Option<Agreement>,
    evidence: Option<EvidenceDir>,
    known_only: bool,
    groups_commits: bool,
}

/// What of the settings calls look at.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) freshness: Option<Duration>,
    pub(crate) author: Option<String>,
    pub(crate) agreement: Option<Agreement>,
    pub(crate) evidence: Option<EvidenceDir>,
    pub(crate) known_only: bool,
    pub(crate) groups_commits: bool,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            policy: None,
            trust: None,
            tls: TlsFiles::default(),
            plaintext: false,
            timeout: DEFAULT_TIMEOUT,
            consistency: Consistency::Linearizable,
            freshness: None,
            author: None,
            agreement: None,
            evidence: None,
            known_only: false,
            groups_commits: true,
        }
    }
}

/// Without keys and certificates.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoints", &self.endpoints)
            .field("timeout", &self.timeout)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Where replicas are: `https://host:port` each. List all of them, so that a write finds the leader and roots
    /// can be compared.
    pub fn endpoints<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.endpoints = endpoints.into_iter().map(Into::into).collect();
        self
    }

    /// Whom to believe: `log` lines for `_system` and any other ledgers, the cosigners, and how many of them it takes.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where to keep what was believed last. Default: in memory, which forgets it with the process.
    pub fn trust(mut self, trust: Arc<dyn TrustStore>) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Contents of a PEM file with the certificates of the authorities that vouch for the replicas' addresses.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.ca = Some(pem.into());
        self
    }

    /// Contents of PEM files with this client's certificate chain and private key.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.identity = Some((chain.into(), key.into()));
        self
    }

    /// Endpoints without a scheme are not encrypted. Answers are verified all the same; that nobody reads along is
    /// what is given up.
    pub const fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// How long a call may take, all its attempts together. Default: 10 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How reads are answered unless they say otherwise. Default: linearizable.
    pub const fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Refuses reads of the present whose checkpoint was cosigned longer ago than this, by this machine's clock.
    /// Default: no bound, besides the one of [`Consistency::MaxStaleness`].
    pub const fn freshness(mut self, bound: Duration) -> Self {
        self.freshness = Some(bound);
        self
    }

    /// The principal that the cluster knows this client as, if it is known: answers to its requests must say so.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Compares the checkpoints of all replicas in the background, for every ledger that is used. Default: only on demand
    /// ([`Ledger::compare_replicas`](crate::Ledger::compare_replicas)).
    pub const fn agreement(mut self, agreement: Agreement) -> Self {
        self.agreement = Some(agreement);
        self
    }

    /// Where a file is written for every signed contradiction that this client sees, whoever was asked, and whether the
    /// caller looks at the error or not. Default: nowhere; errors carry the evidence.
    pub fn evidence_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.evidence = Some(EvidenceDir::new(directory));
        self
    }

    /// Refuses ledgers of which the trust store holds nothing ([`TrustError::FirstContact`](crate::TrustError)): for who
    /// has been here before and wants to notice when the memory of it is gone. Default: such a ledger is believed by the
    /// policy alone, and from then on has to continue; [`Client::first_contacts`] tells of it.
    pub const fn known_only(mut self) -> Self {
        self.known_only = true;
        self
    }

    /// Sends every commit as a call of its own. Default: small commits that are under way at the same time share one
    /// stream per replica, which takes less work on both sides; a lone commit is a call in any case.
    pub const fn single_commits(mut self) -> Self {
        self.groups_commits = false;
        self
    }

    /// The client. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting.
    pub fn build(self) -> Result<Client, Error> {
        let help = "list the replicas with ClientBuilder::endpoints";
        let missing = |setting, help| ConfigError::Missing { setting, help };
        if self.endpoints.is_empty() {
            return Err(missing("endpoints", help).into());
        }
        let help = "give the cluster's trust policy with ClientBuilder::policy";
        let policy = self.policy.ok_or_else(|| missing("policy", help))?;
        let cluster = cluster_of(&policy)?;
        let parse = |endpoint: &String| EndpointAddress::parse(endpoint, self.plaintext);
        let addresses = self.endpoints.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let fleet = Fleet::new(addresses, client_tls(&self.tls)?)?;
        let settings = Settings {
            timeout: self.timeout,
            consistency: self.consistency,
            freshness: self.freshness,
            author: self.author,
            agreement: self.agreement,
            evidence: self.evidence,
            known_only: self.known_only,
            groups_commits: self.groups_commits,
        };
        let trust = self.trust.unwrap_or_else(|| Arc::new(MemoryTrust::new()));
        Ok(Client::new(Inner::new(fleet, policy, cluster, trust, settings)))
    }
}

/// The cluster that the logs of a policy belong to: all of them to one.
fn cluster_of(policy: &Policy) -> Result<ClusterOrigin, ConfigError> {
    let problem = |problem: String| ConfigError::Policy { problem };
    let mut clusters = policy.logs().iter().map(|log| {
        let origin = Origin::parse(log.key().name());
        origin.map(|origin| origin.cluster().clone()).map_err(|error| problem(error.to_string()))
    });
    let first = clusters.next().ok_or_else(|| problem("it lists no log".to_owned()))??;
    for cluster in clusters {
        let cluster = cluster?;
        if cluster != first {
            return Err(problem(format!("its logs belong to two clusters, {first} and {cluster}")));
        }
    }
    Ok(first)
}
