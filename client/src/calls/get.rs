//! What keys hold.

use bytes::Bytes;
use quorate_core::answer::Reading;
use quorate_proto::v1;

use crate::error::Error;
use crate::leader::Route;
use crate::ledger::{Accepted, Ledger, Session};
use crate::options::ReadOptions;
use crate::transaction::check_key;
use crate::values::{Read, Value};
use crate::verify;

/// What is verified along with a reading: everything a receipt of it needs.
pub(super) struct ProvenGet {
    pub(super) accepted: Accepted,
    pub(super) reading: Reading,
    pub(super) state_proof: Vec<u8>,
}

impl Ledger {
    /// What a key holds.
    ///
    /// # Errors
    /// [`Error`]; that there is no value is none, see [`Read::state`].
    pub async fn get(
        &self,
        key: impl AsRef<[u8]>,
        options: ReadOptions,
    ) -> Result<Read<Option<Value>>, Error> {
        let key = key.as_ref();
        if options.unverified {
            let session = self.begin(options.timeout).await?;
            let request = get_request(&session, key, options)?;
            let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
            let claimed = Read::claimed(answered.response.item, answered.response.size);
            return session.believe(&answered.replica, claimed);
        }
        let proven = self.proven_get(key, options).await?;
        Ok(Read::proven(proven.reading, &proven.accepted.ground.certified))
    }

    /// A verified read, with its proofs.
    pub(super) async fn proven_get(&self, key: &[u8], options: ReadOptions) -> Result<ProvenGet, Error> {
        let mut session = self.begin(options.timeout).await?;
        let request = get_request(&session, key, options)?;
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let (replica, response) = (answered.replica, answered.response);
        let accepted =
            self.accept(&mut session, &replica, response.checkpoint, options.min_cosigners).await?;
        session.believe(&replica, session.check_age(&accepted.ground.certified, options))?;
        let point = session.point(&accepted.ground, options.at).await?;
        let state_proof = Vec::from(response.state_proof);
        let reading = verify::get(&accepted.ground, point.as_ref(), key, state_proof.clone(), response.item);
        let reading = session.believe(&replica, reading)?;
        session.finish(&accepted).await?;
        Ok(ProvenGet { accepted, reading, state_proof })
    }

    /// What several keys hold, all at one checkpoint; in the order asked.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        options: ReadOptions,
    ) -> Result<Vec<Read<Option<Value>>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut session = self.begin(options.timeout).await?;
        for (place, key) in keys.iter().enumerate() {
            check_key(|| format!("keys[{place}]"), key.as_ref())?;
        }
        let request = v1::GetManyRequest {
            ledger: session.state.name(),
            keys: keys.iter().map(|key| Bytes::copy_from_slice(key.as_ref())).collect(),
            options: Some(session.read_options(options)),
        };
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let (replica, response) = (answered.replica, answered.response);
        if options.unverified {
            let size = response.size;
            let each = response.answers.into_iter().map(|answer| Read::claimed(answer.item, size));
            return session.believe(&replica, each.collect::<Result<_, _>>());
        }
        let accepted =
            self.accept(&mut session, &replica, response.checkpoint, options.min_cosigners).await?;
        session.believe(&replica, session.check_age(&accepted.ground.certified, options))?;
        let point = session.point(&accepted.ground, options.at).await?;
        let readings = verify::get_many(&accepted.ground, point.as_ref(), keys, response.answers);
        let readings = session.believe(&replica, readings)?;
        session.finish(&accepted).await?;
        let certified = &accepted.ground.certified;
        Ok(readings.into_iter().map(|reading| Read::proven(reading, certified)).collect())
    }
}

fn get_request(session: &Session, key: &[u8], options: ReadOptions) -> Result<v1::GetRequest, Error> {
    check_key(|| "key", key)?;
    Ok(v1::GetRequest {
        ledger: session.state.name(),
        key: Bytes::copy_from_slice(key),
        options: Some(session.read_options(options)),
    })
}
