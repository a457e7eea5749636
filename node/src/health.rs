//! Whether this node may serve: the first fault stops it for good.
//!
//! A node that has diverged, or whose store is damaged, stops voting, signing and serving, keeps its files, and goes
//! on answering only `Status`, `/livez`, `/readyz` and `/metrics`, so that people see why. It is never healed silently.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by all parts of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<Option<String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Health {
    /// A node without a fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the node: `fault` says what happened and what to do. Only the first fault counts.
    pub fn fail(&self, fault: impl Into<String>) {
        let fault = fault.into();
        self.0.send_if_modified(|known| {
            if known.is_some() {
                return false;
            }
            tracing::error!(fault = %fault, "this node stops serving");
            metrics::gauge!("quorate_fault").set(1.0);
            *known = Some(fault);
            true
        });
    }

    /// The fault that stopped this node.
    pub fn fault(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Whether there is no fault.
    pub fn is_good(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Waits for a fault.
    pub async fn failed(&self) -> String {
        let mut watch = self.0.subscribe();
        let fault = watch.wait_for(Option::is_some).await.map(|fault| fault.clone().unwrap_or_default());
        match fault {
            Ok(fault) => fault,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_fault_counts() {
        let health = Health::new();
        assert!(health.is_good());
        health.fail("first");
        health.fail("second");
        assert_eq!(health.failed().await, "first");
        assert_eq!(health.fault().as_deref(), Some("first"));
    }
}
