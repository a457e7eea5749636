//! The honest nodes that answers come from.

use std::{path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use quorate_proto::v1::{ErrorDetail, ledger_client::LedgerClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint, Uri},
};

use crate::stolen::Failure;

/// How long an honest node may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Connections to honest nodes.
#[derive(Clone)]
pub struct Upstream(Vec<LedgerClient<Channel>>);

impl Upstream {
    /// Connections to these addresses, made when they are first used.
    ///
    /// # Errors
    /// A certificate or an address that is none.
    pub fn new(addresses: &[String], authority: &Path) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&std::fs::read(authority)?) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls));
        addresses.iter().map(|address| channel(address, &tls)).collect::<Result<_, _>>().map(Self)
    }

    /// Asks one after the other until one answers: a write is answered by the leader alone.
    ///
    /// # Errors
    /// The last one's.
    pub async fn ask<T, F>(&self, call: impl Fn(LedgerClient<Channel>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut last = Status::unavailable("there is no honest node");
        for client in &self.0 {
            match tokio::time::timeout(LIMIT, call(client.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if is_elsewhere(&status) => last = status,
                Ok(Err(status)) => return Err(status),
                Err(_) => last = Status::deadline_exceeded("the honest node did not answer"),
            }
        }
        Err(last)
    }
}

/// Whether another node may answer.
fn is_elsewhere(status: &Status) -> bool {
    let detail = <ErrorDetail as prost::Message>::decode(status.details());
    status.code() == Code::Unavailable || detail.is_ok_and(|detail| detail.reason == "not_leader")
}

fn channel(address: &str, tls: &TlsConnector) -> Result<LedgerClient<Channel>, Failure> {
    let host = address.rsplit_once(':').ok_or("an address is HOST:PORT")?.0;
    let name = ServerName::try_from(host.to_owned())?;
    let (tls, address) = (tls.clone(), address.to_owned());
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, address, name) = (tls.clone(), address.clone(), name.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let channel = Endpoint::from_static("http://honest").connect_with_connector_lazy(connector);
    Ok(LedgerClient::new(channel))
}
