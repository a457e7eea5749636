//! What the plain HTTP port serves of this node: health, metrics, and the log as tiles.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_core::{
    name::LedgerName,
    position::TreeSize,
    tree::tile::{TileKind, TilePath},
};

use super::{
    checkpoint::root_of,
    errors::Problem,
    interface::{Api, blocking},
};
use crate::{
    http::{Health, HttpSource, SourceError, TileIndex, TileWidth},
    signer::Need,
    store::state::LedgerView,
};

impl HttpSource for Api {
    fn live(&self) -> Health {
        // A node that has stopped for a fault lives on to say so: starting it again would not help.
        Health::Good
    }

    fn ready(&self) -> Health {
        // Whether it serves or not: whoever looks is told what else there is to look at.
        let parts = self.parts();
        let (evidence, refused) = (parts.evidence.in_words(), parts.upkeep.refused.in_words());
        let all = |first: Option<String>| {
            let all = first.into_iter().chain(evidence.clone()).chain(refused.clone());
            all.reduce(|one, other| format!("{one}; {other}"))
        };
        match self.unready() {
            Some(why) => all(Some(why)).map_or(Health::Good, Health::Bad),
            None => all(self.limitation()).map_or(Health::Good, Health::Limited),
        }
    }

    fn metrics(&self) -> String {
        self.measured()
    }

    async fn checkpoint(&self, ledger: &LedgerName) -> Result<Bytes, SourceError> {
        let view = self.served(ledger)?;
        let size = self.backend().certified_size(ledger).min(view.size());
        if size == TreeSize::ZERO {
            return Err(SourceError::Unavailable("no checkpoint of this ledger is certified yet".to_owned()));
        }
        let root = root_of(&view, size).map_err(|problem| self.withheld(problem))?;
        let certified = self.backend().certified(ledger, size, root, Need::default(), Duration::ZERO).await;
        let certified = certified.map_err(|error| self.withheld(error.into()))?;
        Ok(Bytes::copy_from_slice(certified.note.as_bytes()))
    }

    async fn tile(
        &self,
        ledger: &LedgerName,
        level: u8,
        index: TileIndex,
        width: TileWidth,
    ) -> Result<Bytes, SourceError> {
        self.tile_at(ledger, TileKind::Hashes { level }, index, width).await
    }

    async fn entries(
        &self,
        ledger: &LedgerName,
        index: TileIndex,
        width: TileWidth,
    ) -> Result<Bytes, SourceError> {
        self.tile_at(ledger, TileKind::Entries, index, width).await
    }
}

impl Api {
    async fn tile_at(
        &self,
        ledger: &LedgerName,
        kind: TileKind,
        index: TileIndex,
        width: TileWidth,
    ) -> Result<Bytes, SourceError> {
        let path = TilePath::new(kind, index.get(), width.get());
        let path = path.map_err(|error| SourceError::NotFound(error.to_string()))?;
        self.tile_of(ledger, &path).await
    }

    /// A tile of a ledger, if it has grown that far.
    pub(super) async fn tile_of(&self, ledger: &LedgerName, path: &TilePath) -> Result<Bytes, SourceError> {
        let view = self.served(ledger)?;
        let (reading, path) = (Arc::clone(&view), *path);
        let tile = blocking(move || Ok(reading.tile(&path)?)).await;
        let tile = tile.map_err(|problem| self.withheld(problem))?;
        let size = view.size();
        let absent = || SourceError::NotFound(format!("ledger {ledger} has no such tile at size {size}"));
        tile.map(Bytes::from).ok_or_else(absent)
    }

    /// A ledger, unless this node has stopped serving.
    fn served(&self, ledger: &LedgerName) -> Result<Arc<LedgerView>, SourceError> {
        if let Some(fault) = self.parts().health.fault() {
            return Err(SourceError::Unavailable(fault));
        }
        let view = self.view();
        view.ledger(ledger)
            .cloned()
            .ok_or_else(|| SourceError::NotFound(format!("there is no ledger {ledger}")))
    }

    fn withheld(&self, problem: Problem) -> SourceError {
        SourceError::Unavailable(self.refusal(problem).message().to_owned())
    }
}
