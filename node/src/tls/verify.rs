//! The two checks of a handshake between nodes: the chain, then the identity.
//!
//! Contract: a handshake completes only with a certificate that (1) chains to the cluster's authority and is
//! within its dates, as webpki judges it, (2) names exactly one node, (3) of this cluster, and (4) on the
//! dialling side the node that was dialled, on the accepting side any node but this one.

use std::{io, sync::Arc};

use quorate_core::position::NodeId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{IdentityError, PeerIdentity, TlsError, config};

/// Carries our reason inside the error of the TLS library, so that the log says it.
fn refuse(reason: IdentityError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// Brings that reason out again, so that a failed handshake is reported in our words.
pub(super) fn reason(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(CertificateError::Other(OtherError(cause)))) = inner else {
        return error;
    };
    match cause.downcast_ref::<IdentityError>() {
        Some(identity) => io::Error::other(identity.clone()),
        None => error,
    }
}

/// The accepting side's check of the dialling node.
#[derive(Debug)]
pub(super) struct IncomingPeer {
    own: PeerIdentity,
    chain: Arc<dyn ClientCertVerifier>,
}

impl IncomingPeer {
    pub(super) fn new(own: PeerIdentity, roots: Arc<RootCertStore>) -> Result<Self, TlsError> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, config::provider())
            .build()
            .map_err(|error| TlsError::Verifier { reason: error.to_string() })?;
        Ok(Self { own, chain })
    }
}

impl ClientCertVerifier for IncomingPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let peer = PeerIdentity::of_certificate(end_entity).map_err(refuse)?;
        if peer.cluster != self.own.cluster {
            return Err(refuse(IdentityError::OtherCluster { got: peer.cluster, own: self.own.cluster }));
        }
        if peer.node == self.own.node {
            return Err(refuse(IdentityError::Own { node: peer.node }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The dialling side's check of the node that answers.
#[derive(Debug)]
pub(super) struct DialledPeer {
    own: PeerIdentity,
    expected: NodeId,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl DialledPeer {
    pub(super) fn new(own: PeerIdentity, expected: NodeId, roots: Arc<RootCertStore>) -> Self {
        let algorithms = config::provider().signature_verification_algorithms;
        Self { own, expected, roots, algorithms }
    }
}

impl ServerCertVerifier for DialledPeer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let peer = PeerIdentity::of_certificate(end_entity).map_err(refuse)?;
        if peer.cluster != self.own.cluster {
            return Err(refuse(IdentityError::OtherCluster { got: peer.cluster, own: self.own.cluster }));
        }
        if peer.node != self.expected {
            return Err(refuse(IdentityError::OtherNode { got: peer.node, expected: self.expected }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
