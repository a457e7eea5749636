//! The one place where this crate draws random numbers, from the operating system.

use quorate_core::entry::Salt;

use crate::error::{ConfigError, Error};

/// Length of an idempotency key that the client draws, bytes.
const IDEMPOTENCY_KEY_LEN: usize = 16;

/// So many salts of 16 random bytes, drawn at once.
///
/// # Errors
/// [`ConfigError::Random`] if the operating system gives none. Nothing is sent then: a value with a guessable salt
/// could be guessed back from its digest after it was erased.
pub(crate) fn salts(count: usize) -> Result<Vec<Salt>, Error> {
    let mut salts = vec![Salt::default(); count];
    if !salts.is_empty() {
        fill(salts.as_flattened_mut())?;
    }
    Ok(salts)
}

/// A name for a request that nobody else chooses.
pub(crate) fn idempotency_key() -> Result<Vec<u8>, Error> {
    let mut key = vec![0; IDEMPOTENCY_KEY_LEN];
    fill(&mut key)?;
    Ok(key)
}

/// A number below `bound` (0 if that is 0), to spread retries. Nothing depends on its quality.
pub(crate) fn below(bound: u64) -> u64 {
    let random = getrandom::u64().unwrap_or_default();
    random.checked_rem(bound).unwrap_or_default()
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Config(ConfigError::Random { reason: error.to_string() }))
}
