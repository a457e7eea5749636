//! New certificates without a restart.
//!
//! Contract: the files are read every half minute and whenever somebody asks ([`Reloader::run`]). Where their content
//! is not the one in use, it is checked as at a start, and used from the next handshake on; connections that exist go
//! on. What clients see and what the other nodes see are two things, replaced apart. Files that cannot be used (expired,
//! of another node, a key that does not fit, half written) change nothing: that is logged once for each content, counted, and
//! tried again at the next look, so that certificate and key need not be replaced at one moment.

use std::{path::Path, sync::Arc, time::Duration};

use quorate_core::position::Micros;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::{Credentials, PeerTls, Roots, ServerTls, TlsError, files};
use crate::{clock::Clock, config, upkeep::CertificateEnds};

/// Between two looks at the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A digest of files, or of why they cannot be read.
type Content = [u8; 32];

/// Replaces the certificates of a running node by those in its files.
#[derive(Debug)]
pub struct Reloader {
    files: config::Tls,
    server: ServerTls,
    peer: PeerTls,
    clock: Clock,
    /// When the certificates in use end.
    ends: CertificateEnds,
    on_client: Seen,
    on_peer: Seen,
}

/// What is known of the files of one port.
#[derive(Debug, Default)]
struct Seen {
    used: Content,
    refused: Option<Content>,
}

impl Reloader {
    /// Reads the certificates of a node that starts.
    ///
    /// # Errors
    /// [`TlsError`] says which file, and what is wrong with it.
    pub fn start(files: &config::Tls, own: super::PeerIdentity, clock: &Clock) -> Result<Self, TlsError> {
        // Looked at before it is read: a change in between is found at the next look.
        let on_client = Seen { used: on_client(files), refused: None };
        let on_peer = Seen { used: on_peer(files), refused: None };
        let credentials = Credentials::load(&files.server_certificate, &files.server_key)?;
        if let Err(problem) = credentials.check_valid(clock.now()) {
            tracing::warn!(file = %files.server_certificate.display(), %problem, "clients will refuse this node");
        }
        let roots = Roots::load(&files.authority)?;
        let server = ServerTls::with_operators(&credentials, &roots, own.cluster)?;
        let ends = CertificateEnds::default();
        ends.server(expires_at("server", credentials.expires_at()));
        let credentials = Credentials::load(&files.peer_certificate, &files.peer_key)?;
        ends.peer(expires_at("peer", credentials.expires_at()));
        let peer = PeerTls::new(own, credentials, roots, clock.now())?;
        Ok(Self { files: files.clone(), server, peer, clock: clock.clone(), ends, on_client, on_peer })
    }

    /// When the certificates in use end.
    pub fn ends(&self) -> CertificateEnds {
        self.ends.clone()
    }

    /// What clients see; replaced by this.
    pub fn server(&self) -> ServerTls {
        self.server.clone()
    }

    /// What the other nodes see; replaced by this.
    pub fn peer(&self) -> PeerTls {
        self.peer.clone()
    }

    /// Looks every [`LOOK_EVERY`] and whenever `asked`. Never ends.
    pub async fn run(mut self, asked: Arc<Notify>) {
        loop {
            let by_hand = tokio::select! {
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let looked = tokio::task::spawn_blocking(move || {
                self.look(by_hand);
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(error) => return tracing::error!(%error, "certificates are not looked for any more"),
            }
        }
    }

    /// Takes what is new in the files. `by_hand`: also says that nothing is, and why what was refused still is.
    pub fn look(&mut self, by_hand: bool) {
        let found = on_client(&self.files);
        let taken = self.on_client.is_new(found).then(|| self.take_server());
        self.on_client.note("server", found, taken, by_hand);
        let found = on_peer(&self.files);
        let taken = self.on_peer.is_new(found).then(|| self.take_peer());
        self.on_peer.note("peer", found, taken, by_hand);
    }

    fn take_server(&self) -> Result<(), TlsError> {
        let credentials = Credentials::load(&self.files.server_certificate, &self.files.server_key)?;
        credentials.check_valid(self.clock.now())?;
        self.server.replace(&credentials, &Roots::load(&self.files.authority)?)?;
        self.ends.server(expires_at("server", credentials.expires_at()));
        Ok(())
    }

    fn take_peer(&self) -> Result<(), TlsError> {
        let credentials = Credentials::load(&self.files.peer_certificate, &self.files.peer_key)?;
        let until = credentials.expires_at();
        self.peer.replace(credentials, Roots::load(&self.files.authority)?, self.clock.now())?;
        self.ends.peer(expires_at("peer", until));
        Ok(())
    }
}

impl Seen {
    fn is_new(&self, found: Content) -> bool {
        found != self.used
    }

    /// Remembers and tells what became of a look.
    fn note(
        &mut self,
        what: &'static str,
        found: Content,
        taken: Option<Result<(), TlsError>>,
        by_hand: bool,
    ) {
        match taken {
            None if by_hand => {
                tracing::info!(certificate = what, "the certificate in use is the one in the file")
            }
            None => self.refused = None,
            Some(Ok(())) => {
                *self = Self { used: found, refused: None };
                count(what, "taken");
                tracing::info!(certificate = what, "a new certificate is used from the next connection on");
            }
            Some(Err(problem)) => {
                if by_hand || self.refused != Some(found) {
                    count(what, "refused");
                    tracing::error!(
                        certificate = what,
                        %problem,
                        "the new certificate is not used, the old one goes on: correct the files; they are looked at \
                         again every half minute and at SIGHUP"
                    );
                }
                self.refused = Some(found);
            }
        }
    }
}

fn on_client(files: &config::Tls) -> Content {
    content(&[&files.authority, &files.server_certificate], &files.server_key)
}

fn on_peer(files: &config::Tls) -> Content {
    content(&[&files.authority, &files.peer_certificate], &files.peer_key)
}

/// What public files and a secret one hold; a file that cannot be read counts as the reason.
fn content(public: &[&Path], secret: &Path) -> Content {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update(Sha256::digest(bytes));
    };
    for path in public {
        match files::read_public(path) {
            Ok(bytes) => add(&bytes),
            Err(error) => add(error.to_string().as_bytes()),
        }
    }
    match files::read_secret(secret) {
        Ok(bytes) => add(&bytes),
        Err(error) => add(error.to_string().as_bytes()),
    }
    hash.finalize().into()
}

fn count(certificate: &'static str, result: &'static str) {
    metrics::counter!("quorate_certificate_reloads_total", "certificate" => certificate, "result" => result)
        .increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; nothing is decided by them")]
fn expires_at(certificate: &'static str, until: Option<Micros>) -> Option<Micros> {
    let seconds = until.map_or(0, |until| until.as_secs());
    metrics::gauge!("quorate_certificate_expiry_seconds", "certificate" => certificate).set(seconds as f64);
    until
}
